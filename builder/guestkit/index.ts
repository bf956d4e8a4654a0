/** Guests that tests and benchmarks talk to: a shell in a microVM, images for it, what it has in memory, volumes. */
export { compileFsload, type FsloadResult, parseFsload } from "./fsload.ts";
export { type GuestImage, imageMemoryOptions, imageOfEntries, workloadImage } from "./images.ts";
export { type GuestMemory, type ProcessMemory, pageCacheOf, parseMeminfo, processMemory } from "./memory.ts";
export { compileProgram } from "./programs.ts";
export { GuestCommandError, type GuestWishes, ShellGuest } from "./shell-guest.ts";
export { LOOP, startVolume, VIRTIO_FS, type Volume, type VolumeKind, type VolumePlace } from "./volume.ts";
