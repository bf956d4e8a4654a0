/** What programs do on volumes: workloads in guests, for tests and to be run by hand (main.ts). */
export { bootWithVolume, type GuestOptions, makeSetting, type Setting, type VolumeGuest } from "./guests.ts";
export { KIND_NAMES, KINDS, type KindName } from "./kinds.ts";
export { FSLOAD, type Place, type Workload } from "./place.ts";
export { FULL, SHORT, type Sizes } from "./sizes.ts";
export { twoGuests } from "./two-guests.ts";
export { WORKLOADS } from "./workloads.ts";
