import { type BlobUpload, UploadLost } from "../../blobd/registry/index.ts";
import type { Digest } from "../../formats/oci/index.ts";
import { Pieces } from "./pieces.ts";
import type { PushTarget } from "./target.ts";

/** An upload's request, in bytes: what is sent again at most when one breaks off. */
const PIECE_BYTES = 8 << 20;
/** How often a blob is sent from its start. */
const MAX_UPLOADS = 3;

/**
 * A blob in the repository. `send` writes its bytes, and says its digest when all are written; it is called again when the
 * registry has lost the upload.
 * @throws SourceError, whatever `send` throws
 */
export async function uploadBlob<T extends { readonly digest: Digest }>(
  { writer, signal }: PushTarget,
  what: string,
  send: (upload: BlobUpload) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const upload = await writer.startUpload(what);
    try {
      const sent = await send(upload);
      await upload.finish(sent.digest);
      return sent;
    } catch (error) {
      if (!signal.aborted) await upload.cancel();
      if (!(error instanceof UploadLost) || attempt === MAX_UPLOADS) throw error;
    }
  }
}

/** The same of bytes of any length, which are sent while the next ones are made; `write` copies them. */
export function uploadInPieces<T extends { readonly digest: Digest }>(
  target: PushTarget,
  what: string,
  send: (write: (bytes: Uint8Array) => Promise<void>) => Promise<T>,
): Promise<T> {
  return uploadBlob(target, what, async (upload) => {
    const pieces = new Pieces(PIECE_BYTES, (piece) => upload.write(piece));
    try {
      const sent = await send((bytes) => pieces.write(bytes));
      await pieces.end();
      return sent;
    } finally {
      await pieces.settle();
    }
  });
}
