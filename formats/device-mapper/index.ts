/** Linux's device mapper: the ioctls that make checked devices. */
export { DM_CONTROL } from "./format.ts";
export { createdMinor, type DmRequest, removeDevice, verityDevice } from "./requests.ts";
