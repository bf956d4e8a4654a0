/** Several file systems side by side under one pseudo root, added and removed while it is served. */
export type { RootConfig, RootMount } from "./config.ts";
export { RootMounts } from "./mounts.ts";
export { openRoot } from "./root.ts";
export { createServed, openServed, type Served, type ServedConfig, type ServedShared } from "./served.ts";
