/** Blobs served to this host on demand. */
export { BlobService, type ServiceOptions } from "./blob-service.ts";
export { heldForUs } from "./held.ts";
export { type ServeOptions, type Serving, startServing } from "./serve.ts";
export type { BlobOrigin, Served } from "./served.ts";
