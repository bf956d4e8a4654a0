/** Images that are used before they have arrived. */
export { type LazyImage, type LazyOptions, openLazy } from "./open-lazy.ts";
