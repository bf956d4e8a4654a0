import type {
  DirectoryJob,
  DirectoryResult,
  LayerJob,
  LayerResult,
  TarIdentity,
} from "../../blobd/conversion/index.ts";
import { type BlobOptions, type LayerRecord, recordKey, type Store } from "../../blobd/store/index.ts";
import { decompress } from "../decompress/index.ts";
import { buildLayer, type ConvertedLayer, convertLayer, type LayerOptions, layerKey } from "../layer/index.ts";
import { checkedContent } from "./content-input.ts";
import { TarHash } from "./tar-hash.ts";
import { walkUpper } from "./upper-walk.ts";

/** Containers are given plain layers: their files are to be mapped and read in place. */
const LAYER_OPTIONS: LayerOptions = { inlineTails: false };

/** Bytes of a layer as stored. Opened when they are needed: a layer that the store has costs nothing. */
export type OpenContent = () => AsyncIterable<Uint8Array>;

/**
 * The layer in the store, converted unless it is there, and what its tar is. That is hashed here whoever converted the
 * layer before: what the config of some image says of it is not to be trusted, a wrong one would put these files into
 * other images' place.
 *
 * @throws SourceError, FormatError, StoreError; the reason of `signal`
 */
export async function layerJob(
  store: Store,
  job: LayerJob,
  open: OpenContent,
  signal: AbortSignal,
): Promise<LayerResult> {
  const key = layerKey(job.digest, LAYER_OPTIONS);
  const content = () => checkedContent(open(), job.digest, job.size);
  const work = async (): Promise<LayerResult> => {
    const known = await store.getLayer(key);
    if (known !== undefined) {
      store.putHold(job.hold.key, { owner: job.hold.owner, layers: [key], files: [] });
      const tar = job.known ?? (await tarOf(content(), job, signal));
      return { key, record: known, tar, cached: true };
    }
    const { converted, tar } = await convert(store, job, content(), signal);
    const record = layerRecord(job.digest, tar.diffId, converted);
    store.putLayer(key, record);
    store.putHold(job.hold.key, { owner: job.hold.owner, layers: [key], files: [] });
    return { key, record, tar, cached: false };
  };
  return store.withLayerLock(key, work, signal);
}

async function convert(
  store: Store,
  job: LayerJob,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<{ converted: ConvertedLayer; tar: TarIdentity }> {
  const hash = new TarHash();
  try {
    const limits: BlobOptions = job.maxBlobBytes === null ? {} : { maxBytes: job.maxBlobBytes };
    const input = stoppable(content, signal);
    const converted = await convertLayer(store, input, job.compression, LAYER_OPTIONS, limits, hash.observe);
    return { converted, tar: hash.finish() };
  } finally {
    hash.free();
  }
}

/** Only decompresses and hashes. */
async function tarOf(
  content: AsyncIterable<Uint8Array>,
  { compression }: LayerJob,
  signal: AbortSignal,
): Promise<TarIdentity> {
  const hash = new TarHash();
  try {
    for await (const piece of decompress(stoppable(content, signal), compression)) await hash.observe(piece);
    return hash.finish();
  } finally {
    hash.free();
  }
}

/** What a container changed as a layer in the store; known by what came out. @throws UpperError, SourceError, StoreError */
export async function directoryJob(store: Store, job: DirectoryJob, signal: AbortSignal): Promise<DirectoryResult> {
  const converted = await buildLayer(store, LAYER_OPTIONS, {}, (sink, drain) =>
    walkUpper(job.path, sink, { signal, drain, root: true }),
  );
  const record = layerRecord(`sha256:${converted.meta.digestHex}`, undefined, converted);
  const key = recordKey({ kind: "directory", meta: converted.meta.digestHex });
  store.putLayer(key, record);
  store.putHold(job.hold.key, { owner: job.hold.owner, layers: [key], files: [] });
  return { key, record };
}

function layerRecord(layerDigest: string, diffId: string | undefined, converted: ConvertedLayer): LayerRecord {
  const { meta, blob, stats } = converted;
  return {
    layerDigest,
    ...(diffId !== undefined && { diffId }),
    meta,
    ...(blob !== undefined && { blob }),
    stats: { ...stats },
  };
}

async function* stoppable(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    yield chunk;
  }
}
