/**
 * Converted images in registries: finding them, and what the store remembers of one that was fetched. Apart from what fetches
 * them whole, so that a guest that starts before its image is here does not load that.
 */
export { type FindOptions, findPushed } from "./find-pushed.ts";
export { checkTags, imageRecord, storedLayer } from "./record.ts";
