/** Blobs that are not complete as files of a mount, fetched as they are read. */
export { BlobFileSystem } from "./blob-file-system.ts";
export { BlobTable, MAX_BLOBS } from "./blob-table.ts";
export { Tickets, type WantedRange } from "./tickets.ts";
