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
import { Dictionary, type DictionaryImage } from "./dictionary.ts";
import { FileData } from "./file-data.ts";
import { LayerTree } from "./layer-tree.ts";

/** What changes a layer's result. Everything here is part of its key in the store. */
export interface LayerOptions {
  /** Small files live in the metadata: smaller images, but no DAX for those files. */
  readonly inlineTails: boolean;
  /** Whether blob and meta get a dm-verity hash tree; default false. */
  readonly verity?: boolean;
  /** Images whose data are not stored again; all of a layer's conversion, whether or not it finds something there. */
  readonly dictionary?: readonly DictionaryImage[];
}

/** Raise it when the same layer gives other bytes than before. */
const LAYER_FORMAT_VERSION = 2;

/** The store's key of a converted layer: the same layer and options give the same bytes, so the same key. */
export function layerKey(layerDigest: string, options: LayerOptions): string {
  const { inlineTails, verity, dictionary = [] } = options;
  return recordKey({
    kind: "layer",
    version: LAYER_FORMAT_VERSION,
    layerDigest,
    inlineTails,
    ...(verity && { verity }),
    // An image's metadata name its blobs by digest: they stand for all that can be found in it.
    ...(dictionary.length > 0 && { dictionary: dictionary.map(({ meta }) => meta.digestHex).join(" ") }),
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
  /** Of that, found in the dictionary. */
  readonly dictionaryBytes: number;
  readonly holeBytes: number;
  readonly inlineBytes: number;
  readonly seconds: number;
}

/** A converted layer in the store. */
export interface ConvertedLayer {
  readonly meta: StoredFile;
  /** Undefined for a layer without file data. */
  readonly blob: StoredFile | undefined;
  /** Blobs of the dictionary that hold data of the layer, too. */
  readonly borrowed: readonly StoredFile[];
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
  const { dictionary: images = [], verity = false } = options;
  const dictionary = images.length === 0 ? undefined : new Dictionary(store, images);
  const blobWriter = store.createBlob({ ...limits, verity });
  try {
    const sink = new LayerSink(blobWriter, options, dictionary);
    const tarBytes = await feed(sink, () => blobWriter.drain());
    return await storeLayer(store, options, blobWriter, sink, tarBytes, startMs);
  } catch (error) {
    await blobWriter.abort();
    throw error;
  } finally {
    dictionary?.close();
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
  const borrowed = borrowedBlobs(sink, blob === undefined ? 0 : 1);
  const tree: Tree = { root: sink.tree.root, blobs: blob === undefined ? borrowed : [blob, ...borrowed] };
  const image = writeErofs(tree, { layout: "devices" });
  const meta = storedFileOf(await store.putBytes(image.meta, { verity }));
  const { entries, files } = sink;
  const seconds = (performance.now() - startMs) / 1000;
  return {
    meta,
    blob,
    borrowed,
    tree,
    stats: { entries, files, inodes: image.inodes, tarBytes, ...sink.fileData.stats, seconds },
  };
}

/**
 * The blobs of the dictionary that files have data in. The extents are numbered anew: these blobs follow the layer's own.
 * @param own blobs of the layer itself: 0 or 1
 */
function borrowedBlobs({ fileData, dictionary }: LayerSink, own: number): StoredFile[] {
  const { borrowers } = fileData;
  const used = new Set(borrowers.flatMap(({ extents }) => extents.map(({ blob }) => blob)));
  // In extents as they are now, blob i of the dictionary is i + 1.
  const kept = (dictionary?.blobs ?? []).map((_, i) => i + 1).filter((number) => used.has(number));
  const moved = new Map(kept.map((number, i) => [number, own + i]));
  for (const file of borrowers)
    file.extents = file.extents.map((extent) => ({ ...extent, blob: moved.get(extent.blob) ?? extent.blob }));
  return kept.map((number) => storedFileOf(dictionary!.blobs[number - 1]!));
}

/** Tree and data of one layer, filled entry by entry. */
class LayerSink implements EntrySink {
  readonly tree = new LayerTree();
  readonly fileData: FileData;
  readonly dictionary: Dictionary | undefined;
  entries = 0;
  files = 0;
  private fileOpen = false;

  constructor(blob: BlobWriter, options: LayerOptions, dictionary: Dictionary | undefined) {
    this.fileData = new FileData(blob, options.inlineTails, dictionary);
    this.dictionary = dictionary;
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
