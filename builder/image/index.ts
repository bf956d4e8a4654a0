/** Whole images are made here: conversion into the store, and export from it. `builder/open` opens them. */
export { type ConvertOptions, type ConvertResult, convertImage } from "./convert.ts";
export { ExportError, exportDirectory, exportSingle, type SingleFile } from "./export.ts";
export { flattenImage, storeFlat } from "./flat.ts";
export { LayerError } from "./layer-converter.ts";
export { WAITING_MS } from "./layer-job.ts";
export { type PlainError, plainError } from "./layer-messages.ts";
export {
  blobsOfLayer,
  heapBytesOf,
  LayerTrees,
  type MergedImage,
  MergeError,
  mergeImage,
  mergeTrees,
  metaTree,
  requireHeap,
} from "./merge-image.ts";
export { type OptimizeResult, optimizeImage } from "./optimize.ts";
export type { LayerState, LayerSummary, ProgressEvent, ProgressListener } from "./progress.ts";
export { makeStandalone } from "./standalone-layers.ts";
export { UnitWriter } from "./unit-writer.ts";
