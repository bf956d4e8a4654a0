/** Blobs served to this host on demand. */
export { type BlobOrigin, BlobService, type Served, type ServiceOptions } from "./blob-service.ts";
export { type ServeOptions, type Serving, startServing } from "./serve.ts";
