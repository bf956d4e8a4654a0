import { type RepositoryAccess, type RetryPolicy, SourceError } from "../../blobd/registry/index.ts";
import { recordKey, type Store } from "../../blobd/store/index.ts";
import { digestHex, type ErofsLayer } from "../../formats/oci/index.ts";
import { decompress } from "../decompress/index.ts";
import { type LayerState, UnitWriter, WAITING_MS } from "../image/index.ts";
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
  const findHere = async () => {
    const size = store.blobSize(hex);
    if (size === 0 || (await store.checkBlob({ digestHex: hex, size, blocks: 0 })) !== "good") return undefined;
    onState("cached", layer.descriptor.size);
    return size;
  };
  const here = await findHere();
  if (here !== undefined) return here;
  // One fetch of it for all processes of the store. Not the digest itself: by that the store locks the blob it puts in place.
  const key = recordKey({ kind: "pull", blob: hex });
  const waiting = setTimeout(() => onState("waiting", 0), WAITING_MS);
  const fetch = async () => {
    clearTimeout(waiting);
    return (await findHere()) ?? fetchLayer(store, layer, options);
  };
  try {
    return await store.withLayerLock(key, fetch, options.signal);
  } finally {
    clearTimeout(waiting);
  }
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
