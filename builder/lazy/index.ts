/** Images that are used before they have arrived. */
export type { Lease } from "./daemon.ts";
export { type LazyImage, type LazyOptions, openLazy } from "./open-lazy.ts";
