/**
 * Images that are there: by file, by export folder, or by name in the store. A room of its own, so that what only opens an
 * image (`erofsify run` counts milliseconds) does not load what makes one.
 */
export { configOfRecord } from "./config-of-record.ts";
export { openFileSource } from "./file-source.ts";
export {
  EXPORT_META,
  findStored,
  hasVerity,
  ImageError,
  type ImageFiles,
  type OpenedImage,
  type OpenImageOptions,
  openFiles,
  openImage,
  verityRoots,
} from "./open-image.ts";
