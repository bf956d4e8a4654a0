/** An image of the store with what a start reads first in a small blob of its own, in the order in which it is read. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import {
  type BlobWriter,
  type ImageRecord,
  recordKey,
  Store,
  type StoredFile,
  storedFileOf,
} from "../../blobd/store/index.ts";
import { isMisreadAfter, writeErofs } from "../../formats/erofs/writer/index.ts";
import { fitPrefetchList, formatPrefetchList, type PrefetchList } from "../../formats/oci/index.ts";
import { BLOCK_SIZE, type Extent, HOLE, type Inode, type Tree } from "../../formats/tree/index.ts";
import { filesOf, HUGE_PAGE } from "../layer/index.ts";
import { findStored, ImageError } from "../open/index.ts";
import { hotPieces, type Piece } from "./hot-pieces.ts";
import { metaTree } from "./merge-image.ts";
import { MovedPieces, moveExtents } from "./moved-pieces.ts";

export interface OptimizeOptions {
  readonly storeRoot: string;
  /** What was read first, as it was recorded of this image or of one that shares blobs with it. */
  readonly trace: PrefetchList;
  readonly signal: AbortSignal;
}

export interface OptimizeResult {
  readonly key: string;
  readonly record: ImageRecord;
  /** Data in the new blob, in bytes, alignment included. */
  readonly hotBytes: number;
  readonly pieces: number;
  /** The trace of the new image: the new blob from its start to its end. */
  readonly trace: PrefetchList;
  /** Blobs of the trace that the image does not have. */
  readonly strangers: readonly string[];
}

/** Raise it when the same image and trace give other bytes than before. */
const OPTIMIZED_FORMAT_VERSION = 1;

/**
 * Lays what the trace names one behind the other into a new blob, the first device of a new image that takes the old one's
 * names. The other blobs stay as they are: stores and registries have them once for both images.
 * @throws ImageError, StoreError, FormatError; the reason of `signal`
 */
export async function optimizeImage(target: string, options: OptimizeOptions): Promise<OptimizeResult> {
  const { storeRoot, trace, signal } = options;
  const store = await Store.open(storeRoot);
  try {
    const { key: oldKey, record } = await findStored(target, store);
    const tree = metaTree(store, record.meta);
    const digests = tree.blobs.map(({ digestHex }) => `sha256:${digestHex}` as const);
    const { ranges, strangers } = fitPrefetchList(trace, digests);
    const files = [...filesOf(tree.root)];
    const pieces = hotPieces(files, ranges);
    if (pieces.length === 0)
      throw new ImageError("ERR_BAD_IMAGE", `the trace names nothing that is a file's data in ${target}`);
    const { verity } = record.meta;
    const { hot, hotBytes, moved } = await writeHot(store, tree, pieces, verity !== undefined, signal);
    const optimized = withHot(tree, files, hot, moved);
    const meta = storedFileOf(
      await store.putBytes(writeErofs(optimized, { layout: "devices" }).meta, { verity: verity !== undefined }),
    );
    const known = new Map([hot, ...record.blobs].map((file) => [file.digestHex, file]));
    const result: ImageRecord = {
      ...record,
      meta,
      blobs: optimized.blobs.map(({ digestHex }) => known.get(digestHex)!),
      createdMs: Date.now(),
    };
    const traceHex = createHash("sha256").update(formatPrefetchList(trace)).digest("hex");
    const key = recordKey({ kind: "optimized", version: OPTIMIZED_FORMAT_VERSION, image: oldKey, trace: traceHex });
    store.putImage(key, result);
    const range = { blob: 0, offset: 0, bytes: hotBytes };
    const newTrace: PrefetchList = { blobs: [`sha256:${hot.digestHex}`], ranges: [range] };
    return { key, record: result, hotBytes, pieces: pieces.length, trace: newTrace, strangers };
  } finally {
    store.close();
  }
}

/** Copies the pieces. */
async function writeHot(
  store: Store,
  tree: Tree,
  pieces: readonly Piece[],
  verity: boolean,
  signal: AbortSignal,
): Promise<{ hot: StoredFile; hotBytes: number; moved: MovedPieces }> {
  const writer = store.createBlob({ verity });
  const fds = new Map<number, number>();
  const buffer = Buffer.allocUnsafeSlow(HUGE_PAGE);
  const moved = new MovedPieces();
  try {
    for (const piece of pieces) {
      signal.throwIfAborted();
      const { blob, startBlock, blocks } = piece;
      if (!fds.has(blob)) fds.set(blob, openSync(store.blobPath(tree.blobs[blob]!.digestHex), "r"));
      moved.add(piece, begin(writer, piece));
      for (let done = 0; done < blocks * BLOCK_SIZE; done += buffer.length) {
        const bytes = buffer.subarray(0, Math.min(buffer.length, blocks * BLOCK_SIZE - done));
        readWhole(fds.get(blob)!, bytes, startBlock * BLOCK_SIZE + done, tree.blobs[blob]!.digestHex);
        if (writer.write(bytes)) await writer.drain();
      }
    }
    const hotBytes = writer.position;
    const finished = (await writer.finish())!;
    moved.sort();
    return { hot: storedFileOf(finished), hotBytes, moved };
  } catch (error) {
    await writer.abort();
    throw error;
  } finally {
    for (const fd of fds.values()) closeSync(fd);
  }
}

/**
 * Starts a piece: a block that has the same number as before would make Linux go on in the wrong blob where the file leaves
 * the piece (isMisreadAfter), so it goes to the next place.
 */
function begin(writer: BlobWriter, { startBlock, isLarge }: Piece): number {
  const alignment = isLarge ? HUGE_PAGE : BLOCK_SIZE;
  const block = writer.begin(alignment);
  if (block !== startBlock) return block;
  writer.write(new Uint8Array(BLOCK_SIZE));
  return writer.begin(alignment);
}

function readWhole(fd: number, into: Buffer, position: number, digestHex: string): void {
  for (let done = 0; done < into.length; ) {
    const got = readSync(fd, into, done, into.length - done, position + done);
    if (got === 0) throw new ImageError("ERR_NO_BLOB", `blob ${digestHex} ends at ${position + done}, within its data`);
    done += got;
  }
}

/** The tree with the new blob before the others, those left out that nothing refers to any more. */
function withHot(tree: Tree, files: readonly Inode[], hot: StoredFile, moved: MovedPieces): Tree {
  const hotBlob = tree.blobs.length;
  const all = [...tree.blobs, hot];
  for (const file of files) {
    const extents = moveExtents(file.extents, moved, hotBlob);
    // A file that would be read from the wrong blob stays where it was.
    if (!isMisread(extents)) file.extents = extents;
  }
  const used = new Set(files.flatMap(({ extents }) => extents.map(({ blob }) => blob)));
  const order = [hotBlob, ...tree.blobs.keys()].filter((blob) => used.has(blob));
  const places = new Map(order.map((blob, i) => [blob, i]));
  for (const file of files)
    file.extents = file.extents.map((extent) => ({ ...extent, blob: places.get(extent.blob) ?? HOLE }));
  return { root: tree.root, blobs: order.map((blob) => all[blob]!) };
}

function isMisread(extents: readonly Extent[]): boolean {
  const data = extents.filter(({ blob }) => blob !== HOLE);
  return data.slice(1).some((next, i) => isMisreadAfter(data[i]!, next));
}
