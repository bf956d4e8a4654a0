import { closeSync, openSync, read } from "node:fs";
import { promisify } from "node:util";
import type { Store, StoredFile } from "../../blobd/store/index.ts";
import { allocAligned, sha256Of } from "../../blobd/sys/index.ts";
import { ChunkIndexWriter } from "../../formats/chunk-index/index.ts";
import type { Digest } from "../../formats/oci/index.ts";
import type { PushListener } from "./push-blob.ts";
import type { PushTarget } from "./target.ts";
import { uploadInPieces } from "./upload.ts";

const readOnPool = promisify(read);

/**
 * A blob of the store in the repository as it is, byte for byte, under its own name.
 * @returns its chunk index, which becomes a layer of its own: behind the blob it would change the blob's name
 * @throws SourceError, StoreError; the signal's reason
 */
export async function pushPlainBlob(
  store: Store,
  file: StoredFile,
  chunkBytes: number,
  target: PushTarget,
  onProgress: PushListener,
): Promise<Uint8Array> {
  const digest: Digest = `sha256:${file.digestHex}`;
  const read = (write?: (piece: Uint8Array) => Promise<void>) =>
    readChunks(store.blobPath(file.digestHex), file.size, chunkBytes, async (piece, done) => {
      target.signal.throwIfAborted();
      await write?.(piece);
      onProgress("sending", done);
    });
  if (await target.writer.hasBlob(digest)) {
    const index = await read();
    onProgress("exists", file.size);
    return index;
  }
  const { index } = await uploadInPieces(target, `blob ${file.digestHex}`, async (write) => ({
    digest,
    index: await read(write),
  }));
  onProgress("sent", file.size);
  return index;
}

async function readChunks(
  path: string,
  size: number,
  chunkBytes: number,
  use: (piece: Uint8Array, done: number) => Promise<void>,
): Promise<Uint8Array> {
  const fd = openSync(path, "r");
  try {
    const index = new ChunkIndexWriter("none", "sha256");
    const memory = allocAligned(chunkBytes).bytes;
    for (let position = 0; position < size; position += chunkBytes) {
      const bytes = Math.min(chunkBytes, size - position);
      for (let done = 0; done < bytes; ) {
        const { bytesRead } = await readOnPool(fd, memory, done, bytes - done, position + done);
        if (bytesRead === 0) throw new Error(`${path} ends at ${position + done}, expected ${size} bytes`);
        done += bytesRead;
      }
      const piece = memory.subarray(0, bytes);
      index.add(position, position, await sha256Of(piece));
      await use(piece, position + bytes);
    }
    return index.finish(size);
  } finally {
    closeSync(fd);
  }
}
