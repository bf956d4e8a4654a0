/** Images that need no pull: their converted form is in the registry, and its blobs are served as they are read. */
export { Leases, type ServedImage } from "./leases.ts";
export { type RemoteFound, RemoteImages } from "./remote-images.ts";
export { openRemoteLayer } from "./remote-layer.ts";
