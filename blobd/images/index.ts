/** Finding the files of an image: in the store, or where they were written to. */
export { blobEntries } from "./blob-entries.ts";
export { deviceTags, imageRoot, type RootAttributes, readDevices } from "./devices.ts";
export { type FoundFiles, findImageFiles, type ImageFiles, ImageNotFound } from "./find.ts";
