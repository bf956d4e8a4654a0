/** Threads of the mount open their file system by this module: see FileSystemSource. */
import { BlobFileSystem, BlobTable, type TableMemory, Tickets } from "../fuse/blobs/index.ts";

/**
 * @param table of BlobTable
 * @param tickets of Tickets
 */
export function openBlobFileSystem(table: TableMemory, tickets: SharedArrayBuffer): BlobFileSystem {
  return new BlobFileSystem(new BlobTable(table), new Tickets(tickets));
}
