/** For tests: the service as a process, a client of it, and images that are pushed in a few requests. */

export { getManifest, putImage, tinyImage } from "../../testkit/index.ts";
export { JobClient, type JobView } from "./client.ts";
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
