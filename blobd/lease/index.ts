/** Blobs of the store's `blobd serve` as files, for as long as somebody needs them; one is started where none runs. */
export { type Lease, type LeaseOptions, leaseBlobs } from "./lease.ts";
