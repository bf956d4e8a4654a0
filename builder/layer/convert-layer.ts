import {
  type BlobOptions,
  type BlobWriter,
  recordKey,
  type Store,
  type StoredFile,
  storedFileOf,
} from "../../blobd/store/index.ts";
import { FormatError } from "../../formats/bytes/index.ts";
import { writeErofs } from "../../formats/erofs/writer/index.ts";
import { type EntrySink, type TarEntry, TarReader } from "../../formats/tar/index.ts";
import { S_IFREG, type Tree } from "../../formats/tree/index.ts";
import { type Compression, decompress } from "../decompress/index.ts";
import { FileData } from "./file-data.ts";
import { LayerTree } from "./layer-tree.ts";

/** What changes a layer's result. Everything here is part of its key in the store. */
export interface LayerOptions {
  /** Small files live in the metadata: smaller images, but no DAX for those files. */
  readonly inlineTails: boolean;
  /** Whether blob and meta get a dm-verity hash tree; default false. */
  readonly verity?: boolean;
}

/** Raise it when the same layer gives other bytes than before. */
const LAYER_FORMAT_VERSION = 2;

/** The store's key of a converted layer: the same layer and options give the same bytes, so the same key. */
export function layerKey(layerDigest: string, { inlineTails, verity }: LayerOptions): string {
  return recordKey({
    kind: "layer",
    version: LAYER_FORMAT_VERSION,
    layerDigest,
    inlineTails,
    ...(verity && { verity }),
  });
}

/** What a layer's conversion cost and gave; sizes in bytes. */
export interface LayerStats {
  /** Archive entries by what they made; whiteouts and opaque marks are `marks`. */
  readonly entries: number;
  readonly files: number;
  /** Of the layer's meta. */
  readonly inodes: number;
  readonly tarBytes: number;
  /** Sizes of all files. */
  readonly logicalBytes: number;
  readonly dedupBytes: number;
  readonly holeBytes: number;
  readonly inlineBytes: number;
  readonly seconds: number;
}

/** A converted layer in the store. */
export interface ConvertedLayer {
  readonly meta: StoredFile;
  /** Undefined for a layer without file data. */
  readonly blob: StoredFile | undefined;
  /** What the meta says: reading it back would give the same. */
  readonly tree: Tree;
  readonly stats: LayerStats;
}

/**
 * Converts a layer archive into a blob and a meta in the store. Nothing becomes visible there unless all went well.
 *
 * @param input the layer's bytes as stored; it must verify them itself and throw when they are wrong.
 * @param observe gets every piece of the tar while it is parsed, and is done with it when its promise resolves.
 * @throws FormatError on a broken archive, StoreError on a full disk, whatever `input` throws.
 */
export async function convertLayer(
  store: Store,
  input: AsyncIterable<Uint8Array>,
  compression: Compression | "detect",
  options: LayerOptions,
  limits: BlobOptions = {},
  observe?: (piece: Uint8Array) => Promise<void>,
): Promise<ConvertedLayer> {
  const whole = new WholeInput(input);
  try {
    return await buildLayer(store, options, limits, async (sink, drain) => {
      const reader = new TarReader(sink);
      for await (const piece of decompress(whole, compression)) {
        const observed = observe?.(piece);
        try {
          reader.push(piece);
          await drain();
        } finally {
          await observed; // The piece's memory is used again.
        }
      }
      reader.end();
      return reader.bytesRead;
    });
  } catch (error) {
    // Bytes that came damaged make no sense to the decompressor either; that they are not the right ones says more.
    if (error instanceof FormatError) await whole.readOn();
    throw error;
  } finally {
    await whole.close();
  }
}

/** An input that stays open when its consumer gives up, so that it can be read to its end and verified. */
class WholeInput implements AsyncIterable<Uint8Array> {
  private readonly iterator: AsyncIterator<Uint8Array>;

  constructor(input: AsyncIterable<Uint8Array>) {
    this.iterator = input[Symbol.asyncIterator]();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.iterator.next(), return: async () => ({ value: undefined, done: true }) };
  }

  /** @throws what the input throws when it was not the right one */
  async readOn(): Promise<void> {
    while (!(await this.iterator.next()).done);
  }

  async close(): Promise<void> {
    await this.iterator.return?.();
  }
}

/** Brings all entries of a layer to the sink, awaiting `drain` at least once a MiB. @returns the bytes read. */
export type EntryFeed = (sink: EntrySink, drain: () => Promise<void>) => Promise<number>;

/** Makes a layer out of entries that come from wherever `feed` has them. */
export async function buildLayer(
  store: Store,
  options: LayerOptions,
  limits: BlobOptions,
  feed: EntryFeed,
): Promise<ConvertedLayer> {
  const startMs = performance.now();
  const blobWriter = store.createBlob({ ...limits, verity: options.verity ?? false });
  try {
    const sink = new LayerSink(blobWriter, options);
    const tarBytes = await feed(sink, () => blobWriter.drain());
    return await storeLayer(store, options, blobWriter, sink, tarBytes, startMs);
  } catch (error) {
    await blobWriter.abort();
    throw error;
  }
}

async function storeLayer(
  store: Store,
  { verity = false }: LayerOptions,
  blobWriter: BlobWriter,
  sink: LayerSink,
  tarBytes: number,
  startMs: number,
): Promise<ConvertedLayer> {
  const finished = await blobWriter.finish();
  const blob = finished && storedFileOf(finished);
  const tree: Tree = { root: sink.tree.root, blobs: blob === undefined ? [] : [blob] };
  const image = writeErofs(tree, { layout: "devices" });
  const meta = storedFileOf(await store.putBytes(image.meta, { verity }));
  const { entries, files } = sink;
  const seconds = (performance.now() - startMs) / 1000;
  return {
    meta,
    blob,
    tree,
    stats: { entries, files, inodes: image.inodes, tarBytes, ...sink.fileData.stats, seconds },
  };
}

/** Tree and data of one layer, filled entry by entry. */
class LayerSink implements EntrySink {
  readonly tree = new LayerTree();
  readonly fileData: FileData;
  entries = 0;
  files = 0;
  private fileOpen = false;

  constructor(blob: BlobWriter, options: LayerOptions) {
    this.fileData = new FileData(blob, options.inlineTails);
  }

  entry(entry: TarEntry): void {
    const inode = this.tree.add(entry);
    this.entries++;
    this.fileOpen = inode !== null && inode.type === S_IFREG;
    if (this.fileOpen) {
      this.files++;
      this.fileData.begin(inode as NonNullable<typeof inode>, entry);
    }
  }

  data(bytes: Uint8Array, start: number, end: number): void {
    if (this.fileOpen) this.fileData.write(bytes, start, end);
  }

  endEntry(): void {
    if (this.fileOpen) this.fileData.end();
    this.fileOpen = false;
  }
}
