/** Whole images: conversion into the store, export from it, and opening what was made. */
export { type ConvertOptions, type ConvertResult, convertImage } from "./convert.ts";
export { ExportError, exportDirectory, exportSingle } from "./export.ts";
export { type FileSource, openFileSource } from "./file-source.ts";
export { flattenImage } from "./flat.ts";
export { LayerError } from "./layer-converter.ts";
export { type PlainError, plainError } from "./layer-messages.ts";
export { LayerTrees, type MergedImage, MergeError, mergeImage } from "./merge-image.ts";
export {
  ImageError,
  type ImageFiles,
  type OpenedImage,
  type OpenImageOptions,
  openFiles,
  openImage,
} from "./open-image.ts";
export type { LayerState, LayerSummary, ProgressEvent, ProgressListener } from "./progress.ts";
