import { type RepositoryAccess, type RetryPolicy, SourceError } from "../../blobd/registry/index.ts";
import { recordKey, type Store } from "../../blobd/store/index.ts";
import { digestHex, type ErofsLayer } from "../../formats/oci/index.ts";
import { decompress } from "../decompress/index.ts";
import { type LayerState, UnitWriter } from "../image/index.ts";
import type { RegistrySpec } from "../names/index.ts";
import { openLayer } from "../sources/index.ts";

export interface PullLayerOptions {
  readonly spec: RegistrySpec;
  readonly access: RepositoryAccess;
  readonly retry: Partial<RetryPolicy>;
  readonly signal: AbortSignal;
  /** Most bytes that the content may have. */
  readonly maxBlobBytes: number | undefined;
  readonly onState: (state: LayerState, storedBytes: number) => void;
}

/**
 * A layer's content in the store, fetched when it is not there: the stored bytes are checked by their digest, the content by
 * its own.
 * @returns its size in bytes
 * @throws SourceError, FormatError, StoreError; the signal's reason
 */
export async function pullLayer(store: Store, layer: ErofsLayer, options: PullLayerOptions): Promise<number> {
  const hex = digestHex(layer.contentDigest);
  const { onState } = options;
  const sizeHere = async () => {
    const size = store.blobSize(hex);
    return size > 0 && (await store.checkBlob({ digestHex: hex, size, blocks: 0 })) === "good" ? size : undefined;
  };
  const here = await sizeHere();
  if (here !== undefined) {
    onState("cached", layer.descriptor.size);
    return here;
  }
  // One fetch of it for all processes of the store. Not the digest itself: by that the store locks the blob it puts in place.
  const key = recordKey({ kind: "pull", blob: hex });
  return store.withLayerLock(key, async () => (await sizeHere()) ?? fetchLayer(store, layer, options), options.signal);
}

async function fetchLayer(store: Store, layer: ErofsLayer, options: PullLayerOptions): Promise<number> {
  const { spec, access, retry, signal, maxBlobBytes, onState } = options;
  const { descriptor, compression, contentDigest } = layer;
  const { digest, size, mediaType } = descriptor;
  onState("fetching", 0);
  const stored = openLayer(
    { spec, access: { kind: "registry", ...access } },
    { digest, size, mediaType, compression },
    { signal, retry, onProgress: (bytes) => onState("fetching", bytes) },
  );
  const writer = store.createBlob(maxBlobBytes === undefined ? {} : { maxBytes: maxBlobBytes });
  try {
    const units = new UnitWriter(writer);
    for await (const piece of decompress(stored, compression)) await units.write(piece);
    await units.end();
    const blob = await writer.finish();
    if (`sha256:${blob?.digestHex}` !== contentDigest)
      throw new SourceError(
        "ERR_DIGEST",
        `layer ${digest} holds ${blob ? `sha256:${blob.digestHex}` : "nothing"}, its manifest says ${contentDigest}; ` +
          "content that is no multiple of 2 MiB cannot be stored",
      );
    onState("fetched", size);
    return blob!.size;
  } catch (error) {
    await writer.abort();
    throw error;
  }
}
