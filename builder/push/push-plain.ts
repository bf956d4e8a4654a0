import { closeSync, openSync, read } from "node:fs";
import { promisify } from "node:util";
import { UploadLost } from "../../blobd/registry/index.ts";
import type { Store, StoredFile } from "../../blobd/store/index.ts";
import { allocAligned, sha256Of } from "../../blobd/sys/index.ts";
import { ChunkIndexWriter } from "../../formats/chunk-index/index.ts";
import type { Digest } from "../../formats/oci/index.ts";
import { Pieces } from "./pieces.ts";
import type { PushListener } from "./push-blob.ts";
import type { PushTarget } from "./target.ts";

const PIECE_BYTES = 8 << 20;
const MAX_UPLOADS = 3;

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
  { writer, signal }: PushTarget,
  onProgress: PushListener,
): Promise<Uint8Array> {
  const digest: Digest = `sha256:${file.digestHex}`;
  const exists = await writer.hasBlob(digest);
  for (let attempt = 1; ; attempt++) {
    const upload = exists ? undefined : await writer.startUpload(`blob ${file.digestHex}`);
    const pieces = new Pieces(PIECE_BYTES, async (piece) => upload?.write(piece));
    const write = async (piece: Uint8Array, done: number) => {
      signal.throwIfAborted();
      if (upload !== undefined) await pieces.write(piece);
      onProgress("sending", done);
    };
    try {
      const index = await readChunks(store.blobPath(file.digestHex), file.size, chunkBytes, write);
      await pieces.end();
      await upload?.finish(digest);
      onProgress(exists ? "exists" : "sent", file.size);
      return index;
    } catch (error) {
      await pieces.settle();
      if (!signal.aborted) await upload?.cancel();
      if (!(error instanceof UploadLost) || attempt === MAX_UPLOADS) throw error;
    }
  }
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
