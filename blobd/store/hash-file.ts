import { createHash } from "node:crypto";
import { closeSync, constants, openSync, read } from "node:fs";
import { promisify } from "node:util";
import { type BufferPool, SEGMENT_BYTES } from "./buffer-pool.ts";
import { errnoOf } from "./errors.ts";

/**
 * sha256 of a file in hex, read past the page cache where the file system lets us: one buffer is read while the other is
 * hashed. The file's size should be a multiple of 4096.
 */
export async function hashFile(path: string, pool: BufferPool): Promise<string> {
  try {
    return await hashWith(path, constants.O_RDONLY | constants.O_DIRECT, pool);
  } catch (error) {
    if (errnoOf(error) !== "EINVAL") throw error;
    return hashWith(path, constants.O_RDONLY, pool);
  }
}

async function hashWith(path: string, flags: number, pool: BufferPool): Promise<string> {
  const hash = createHash("sha256");
  const fd = openSync(path, flags);
  const buffers = [pool.take(), pool.take()] as const;
  let reading = readOnPool(fd, buffers[0], 0, SEGMENT_BYTES, 0);
  try {
    let position = 0;
    for (let [mine, other] = buffers; ; [mine, other] = [other, mine]) {
      const { bytesRead } = await reading;
      if (bytesRead === 0) return hash.digest("hex");
      position += bytesRead;
      reading = readOnPool(fd, other, 0, SEGMENT_BYTES, position);
      hash.update(mine.subarray(0, bytesRead));
    }
  } finally {
    closeSync(fd);
    for (const buffer of buffers) pool.give(buffer);
  }
}

const readOnPool = promisify(read);
