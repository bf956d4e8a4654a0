/** For tests: the service as a process, a client of it, and images that are pushed in a few requests. */
export { JobClient, type JobView } from "./client.ts";
export { getManifest, putImage, tinyImage } from "./images.ts";
export {
  AUTHORIZATION,
  authorizationFile,
  conversionsOf,
  freePort,
  isConversion,
  type JobProcess,
  startJob,
} from "./service.ts";
export { until } from "./until.ts";
