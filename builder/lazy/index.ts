/** Images that are used before they have arrived. */
export type { Lease } from "../../blobd/lease/index.ts";
export { type LazyImage, type LazyOptions, openLazy } from "./open-lazy.ts";
