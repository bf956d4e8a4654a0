/** Blobs that are not complete as files of a mount, fetched as they are read. */
export { ACCESS_UNIT_BYTES, accessOrderBytes } from "./access-order.ts";
export { BlobFileSystem } from "./blob-file-system.ts";
export { BlobTable, NAME_BYTES, type TableMemory, tableFd } from "./blob-table.ts";
export { sharedMs, Tickets, type WantedRange } from "./tickets.ts";
