import { open } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, digestHex } from "../../formats/oci/index.ts";
import { ioError, PassingError } from "../registry/index.ts";
import type { BlobSource } from "./source.ts";

/** Read at once, in bytes. */
const PIECE_BYTES = 256 << 10;

/** A blob in a folder: of an OCI image layout (`blobs/sha256/HEX`), or with the blobs in itself (`HEX`). */
export function folderSource(folder: string, digest: Digest): BlobSource {
  const hex = digestHex(digest);
  return {
    name: folder,
    async *read(offset, bytes, signal) {
      const file = await open(join(folder, "blobs", "sha256", hex))
        .catch(() => open(join(folder, hex)))
        .catch((error) => {
          throw ioError(join(folder, hex), error);
        });
      try {
        for (let done = 0; done < bytes; ) {
          signal.throwIfAborted();
          const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, bytes - done));
          const { bytesRead } = await file.read(piece, 0, piece.length, offset + done);
          if (bytesRead === 0) throw new PassingError("ERR_LENGTH", `${join(folder, hex)}: ends at ${offset + done}`);
          done += bytesRead;
          yield piece.subarray(0, bytesRead);
        }
      } catch (error) {
        signal.throwIfAborted();
        throw ioError(join(folder, hex), error);
      } finally {
        await file.close();
      }
    },
  };
}
