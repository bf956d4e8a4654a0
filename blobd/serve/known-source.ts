import { digestHex, type ErofsLayer } from "../../formats/oci/index.ts";
import type { PartialSource, Store } from "../store/index.ts";

/** The chunk index as the store has it from before: then nothing of a blob that is there needs the network. */
export function knownSource(store: Store, layer: ErofsLayer): PartialSource | undefined {
  const location = layer.chunkIndex;
  if (location?.digest === undefined) return undefined;
  return store.partials.known({
    contentHex: digestHex(layer.contentDigest),
    indexHex: digestHex(location.digest),
    storedEnd: location.framed ? location.start : layer.descriptor.size,
  });
}
