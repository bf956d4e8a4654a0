/** What people call an image: the text of a source, and where it says that the image is. Nothing is opened or asked. */
export {
  formatSource,
  hostPlatform,
  type LayoutImage,
  parseSource,
  type RegistrySpec,
  type SourceOptions,
  type SourceSpec,
} from "./spec.ts";
