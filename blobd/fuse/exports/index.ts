/** What may be served, whatever it is: a directory, an image's tree, an image's files. */
export {
  closeExport,
  createExport,
  type ExportConfig,
  type ExportShared,
  openExport,
} from "./exports.ts";
