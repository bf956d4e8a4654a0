/** From a layer's entries to a blob and a meta in the store. */
export {
  buildLayer,
  type ConvertedLayer,
  convertLayer,
  type EntryFeed,
  type LayerOptions,
  type LayerStats,
  layerKey,
} from "./convert-layer.ts";
export { type DictionaryImage, filesOf } from "./dictionary.ts";
export { HUGE_PAGE } from "./units.ts";
