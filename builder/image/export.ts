/** A converted image taken out of the store: as a folder, or as one flat file. */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, type FileHandle, link, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { getSystemErrorMap } from "node:util";
import { type ImageRecord, Store, verityTailOf } from "../../blobd/store/index.ts";
import { makeFolders } from "../../blobd/sys/index.ts";
import { BLOCK_SIZE } from "../../formats/tree/index.ts";
import type { VerityRoot } from "../../formats/verity/index.ts";
import { EXPORT_META } from "../open/index.ts";
import { flatImage } from "./merge-image.ts";
import { UNIT_BYTES } from "./unit-writer.ts";

/** A file or folder that cannot be written. */
export class ExportError extends Error {
  override readonly name = "ExportError";
  readonly code = "ERR_EXPORT";
}

/** Copied at once, in bytes: large enough for O_DIRECT-like speed, small enough to be bounded. */
const COPY_BYTES = 8 << 20;

/**
 * Writes `image.erofs` (the merged meta) and `blobs/sha256/<hex>` into a folder. Files are hard links to the store's
 * read-only ones where the folder is on the same file system, else copies (by reflink where it can).
 *
 * @returns the path of image.erofs.
 * @throws ExportError, StoreError; the reason of `signal`
 */
export async function exportDirectory(
  storeRoot: string,
  record: ImageRecord,
  folder: string,
  signal: AbortSignal,
): Promise<string> {
  const store = await Store.open(storeRoot);
  try {
    const blobFolder = join(folder, "blobs", "sha256");
    await writing(folder, async () => makeFolders(blobFolder));
    for (const { digestHex } of record.blobs) {
      signal.throwIfAborted();
      await writing(folder, () => place(store.blobPath(digestHex), join(blobFolder, digestHex)));
    }
    // The meta comes last: whoever sees it finds its blobs.
    const metaPath = join(folder, EXPORT_META);
    await writing(folder, () => place(store.blobPath(record.meta.digestHex), metaPath));
    return metaPath;
  } finally {
    store.close();
  }
}

/** A flat image that was written. */
export interface SingleFile {
  readonly path: string;
  /** Of the whole file, when it ends with a hash tree. */
  readonly verity?: VerityRoot;
}

/**
 * Writes one flat image: metadata written anew with absolute addresses, then the blobs, holes left holes; and a hash tree over all
 * of that, when one is wanted. The blobs' own trees are of no use there and are left out.
 * @throws ExportError, StoreError; the reason of `signal`
 */
export async function exportSingle(
  storeRoot: string,
  record: ImageRecord,
  path: string,
  signal: AbortSignal,
  { verity = false }: { readonly verity?: boolean } = {},
): Promise<SingleFile> {
  const store = await Store.open(storeRoot);
  try {
    const { image, tree } = flatImage(store, record.meta);
    const dataBytes = new Map(
      record.blobs.map((blob) => [blob.digestHex, blob.verity && blob.verity.dataBlocks * BLOCK_SIZE]),
    );
    const write = async (out: FileHandle, written: string): Promise<VerityRoot | undefined> => {
      await out.write(image.meta, 0, image.meta.length, 0);
      for (const [index, { digestHex }] of tree.blobs.entries()) {
        const offset = (image.blobBaseBlocks[index] as number) * BLOCK_SIZE;
        await copyInto(
          store.blobPath(digestHex),
          out,
          offset,
          dataBytes.get(digestHex) ?? Number.POSITIVE_INFINITY,
          signal,
        );
      }
      await out.truncate(image.totalBlocks * BLOCK_SIZE);
      return verity ? appendTree(out, written, image.totalBlocks) : undefined;
    };
    const root = await writing(path, () => writeWhole(path, write));
    return { path, ...(root && { verity: root }) };
  } finally {
    store.close();
  }
}

/** @param path where the file is while it is written */
async function appendTree(out: FileHandle, path: string, dataBlocks: number): Promise<VerityRoot> {
  const { rootHex, pieces } = await verityTailOf(path, dataBlocks);
  let position = dataBlocks * BLOCK_SIZE;
  for (const piece of pieces) {
    await out.write(piece, 0, piece.length, position);
    position += piece.length;
  }
  // Guests take it as a memory device, which the processor maps by pages of this size.
  await out.truncate(Math.ceil(position / UNIT_BYTES) * UNIT_BYTES);
  return { dataBlocks, rootHex };
}

/** Runs a step of the export to `path`; what the file system refuses is told as an ExportError. */
async function writing<T>(path: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    const { errno, code } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    const text = getSystemErrorMap().get(errno)?.[1];
    throw new ExportError(`writing ${path}: ${text ?? code}`, { cause: error });
  }
}

/** Puts a file of the store at `to`, replacing what is there in one step. */
async function place(from: string, to: string): Promise<void> {
  const temporary = temporaryName(to);
  try {
    try {
      await link(from, temporary);
    } catch {
      // Another file system, or one without hard links.
      await copyFile(from, temporary, constants.COPYFILE_FICLONE);
    }
    await rename(temporary, to);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Writes a file under a temporary name, which `write` is told, and renames it when all of it is on the disk. */
async function writeWhole<T>(path: string, write: (out: FileHandle, temporary: string) => Promise<T>): Promise<T> {
  const temporary = temporaryName(path);
  const out = await open(temporary, "wx", 0o644);
  try {
    const result = await write(out, temporary);
    await out.sync();
    await out.close();
    await rename(temporary, path);
    return result;
  } catch (error) {
    await out.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
}

/** @param bytes most that is copied */
async function copyInto(
  from: string,
  out: FileHandle,
  offset: number,
  bytes: number,
  signal: AbortSignal,
): Promise<void> {
  const input = await open(from, "r");
  try {
    const buffer = Buffer.allocUnsafeSlow(COPY_BYTES);
    for (let position = 0; ; ) {
      signal.throwIfAborted();
      const { bytesRead } = await input.read(buffer, 0, Math.min(COPY_BYTES, bytes - position), position);
      if (bytesRead === 0) return;
      await writeData(out, buffer.subarray(0, bytesRead), offset + position);
      position += bytesRead;
    }
  } finally {
    await input.close();
  }
}

const HOLE_BYTES = 1 << 16;
const ZEROS = Buffer.alloc(HOLE_BYTES);

/** Writes what is not zero: the rest stays a hole. */
async function writeData(out: FileHandle, bytes: Buffer, position: number): Promise<void> {
  const isHole = (at: number) =>
    bytes.subarray(at, at + HOLE_BYTES).equals(ZEROS.subarray(0, Math.min(HOLE_BYTES, bytes.length - at)));
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    while (at < bytes.length && !isHole(at)) at += HOLE_BYTES;
    const end = Math.min(at, bytes.length);
    if (end > start) await out.write(bytes, start, end - start, position + start);
    while (at < bytes.length && isHole(at)) at += HOLE_BYTES;
  }
}

function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
}
