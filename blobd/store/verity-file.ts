import { closeSync, fstatSync, openSync, read } from "node:fs";
import { promisify } from "node:util";
import { VERITY_BLOCK, type VerityTail, verityTail } from "../../formats/verity/index.ts";
import { BufferPool, SEGMENT_BYTES } from "./buffer-pool.ts";
import { StoreError, storeError } from "./errors.ts";
import { digestBlocks, digestRoom } from "./verity-pool.ts";

/** Segments read and digested at once. */
const IN_FLIGHT = 4;

const readOnPool = promisify(read);

/**
 * The root of the hash tree over the first `dataBlocks` blocks of a file, in hex, as the data are now.
 * @throws StoreError, also when the file ends before
 */
export async function verityRootOf(path: string, dataBlocks: number): Promise<string> {
  return (await verityTailOf(path, dataBlocks)).rootHex;
}

/**
 * The hash tree over the first `dataBlocks` blocks of a file, as it goes behind them. Through the page cache: whoever asks has
 * most often just written the file, or compared its digest.
 * @throws StoreError, also when the file ends before
 */
export async function verityTailOf(path: string, dataBlocks: number): Promise<VerityTail> {
  const fd = openFile(path);
  const pool = new BufferPool();
  const bytes = dataBlocks * VERITY_BLOCK;
  const pieces: Uint8Array[] = [];
  let next = 0;
  const work = async () => {
    const buffer = pool.take();
    for (let index = next++; index * SEGMENT_BYTES < bytes; index = next++) {
      const length = Math.min(SEGMENT_BYTES, bytes - index * SEGMENT_BYTES);
      await readWhole(fd, path, buffer.subarray(0, length), index * SEGMENT_BYTES);
      const room = digestRoom(length / VERITY_BLOCK);
      pieces[index] = room;
      await digestBlocks(buffer.subarray(0, length), room);
    }
  };
  try {
    const { size } = fstatSync(fd);
    if (size < bytes) throw tooShort(path, size);
    const all = await Promise.allSettled(Array.from({ length: IN_FLIGHT }, work));
    for (const one of all) if (one.status === "rejected") throw one.reason;
    return verityTail(pieces, dataBlocks);
  } finally {
    closeSync(fd);
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw storeError(error, path, "opening");
  }
}

async function readWhole(fd: number, path: string, into: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await readOnPool(fd, into, done, into.length - done, position + done).catch((error) => {
      throw storeError(error, path, "reading");
    });
    if (bytesRead === 0) throw tooShort(path, position + done);
    done += bytesRead;
  }
}

function tooShort(path: string, end: number): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", path, `reading ${path}: ends at ${end}, in its data`);
}
