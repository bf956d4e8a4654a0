import type { ImageRecord } from "../../blobd/store/index.ts";
import { type ImageConfig, parseImageConfig } from "../../formats/oci/index.ts";

/** The config of an image of the store. @throws DocumentError for a config that is none */
export function configOfRecord({ config }: ImageRecord): ImageConfig {
  return parseImageConfig(Buffer.from(JSON.stringify(config)));
}
