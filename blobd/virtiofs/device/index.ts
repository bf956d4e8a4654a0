/** The virtio-fs device: what a front-end sees, what its threads do, what they share. */
export { describeDevice } from "./description.ts";
export { makeDeviceMemory } from "./device-memory.ts";
export { closeGuestFiles, type GuestMemoryFile, openGuestFiles } from "./guest-files.ts";
export { HoldReceiver, hearHolds } from "./hold-channel.ts";
export { giveData, makeLateData } from "./late-data.ts";
export { hearLog } from "./log-channel.ts";
export { type DeviceHome, openDevice, soleHome, startAliases } from "./open-device.ts";
export { checkOptions, DEFAULT_WINDOW_BYTES, MAX_QUEUES, type VirtiofsOptions } from "./options.ts";
