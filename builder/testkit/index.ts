/** What tests and benchmarks need of the world: registries, reference unpackers, checkers, mounts and images. */
export { compareTrees, describeTree, type Exception, type TreeDescription } from "./describe.ts";
export { describeImage } from "./describe-image.ts";
export { EDGE_TAG, EDGE_UNPACK_TIMES, edgeLayers, writeEdgeImage } from "./edge-image.ts";
export {
  type ErofsifyOptions,
  type ErofsifyResult,
  type ErofsifyRun,
  erofsify,
  startErofsify,
} from "./erofsify.ts";
export { freePort } from "./free-port.ts";
export { fsckErofs } from "./fsck.ts";
export { busyboxLayer, guestEnvironment } from "./guest.ts";
export { mountImage } from "./mounted.ts";
export { writeOciLayout } from "./oci-layout.ts";
export { type Postgres, startPostgres } from "./postgres.ts";
export { type ReferrersProxy, type Refusal, startReferrersProxy } from "./referrers-proxy.ts";
export { pushImage, type Registry, type RegistryOptions, startRegistry } from "./registry.ts";
export { type RegistryFault, type RegistryProxy, startRegistryProxy } from "./registry-proxy.ts";
export { CommandError, type RunOptions, type RunResult, run, type Server, startServer } from "./run.ts";
export { type StoreState, storeState } from "./store-state.ts";
export { buildTar, type TarEntry } from "./tar-builder.ts";
export { tempDir } from "./temp.ts";
export { getManifest, putImage, tinyImage } from "./tiny-images.ts";
export { unpackWithTar, unpackWithUmoci } from "./unpack.ts";
