/** Blobs served to this host on demand. */
export { BlobService, type ServiceOptions } from "./blob-service.ts";
export { heldForUs, keepServing } from "./keeper.ts";
export { defaultMountPoint, type ServeOptions, type Serving, startServing } from "./serve.ts";
export type { BlobOrigin, Served } from "./served.ts";
