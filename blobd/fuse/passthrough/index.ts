/** A host directory as a file system: for volumes that a guest, or the host's own kernel, mounts. */
export type { IdRange, PassthroughConfig } from "./config.ts";
export type { PassthroughHooks } from "./hooks.ts";
export { openPassthrough } from "./passthrough.ts";
export { closePassthroughShared, createPassthroughShared, type Inheritance } from "./shared.ts";
export type { Entrance as PassthroughShared } from "./volume.ts";
