import { UploadLost } from "../../blobd/registry/index.ts";
import { type EncodingRecord, recordKey, type Store, type StoredFile } from "../../blobd/store/index.ts";
import { libzstdVersion } from "../../blobd/sys/index.ts";
import type { Digest } from "../../formats/oci/index.ts";
import { type EncodedBlob, type EncodeOptions, encodeBlob } from "./encode-blob.ts";
import { Pieces } from "./pieces.ts";
import type { PushTarget } from "./target.ts";

/** Raise it when the same blob is encoded into other bytes than before. */
const ENCODING_VERSION = 1;
/** An upload's request, in bytes: what is sent again at most when one breaks off. */
const PIECE_BYTES = 8 << 20;
/** How often a blob is sent from its start. */
const MAX_UPLOADS = 3;

/** `sending`: bytes of content so far; `exists`, `mounted`: nothing had to be sent. */
export type PushState = "sending" | "sent" | "exists" | "mounted";
export type PushListener = (state: PushState, contentBytes: number) => void;

/**
 * A blob of the store as zstd frames with a chunk index in the repository. What the store remembers from earlier pushes
 * spares compressing a blob that the registry has.
 * @throws SourceError, StoreError; the signal's reason
 */
export async function pushBlob(
  store: Store,
  file: StoredFile,
  encode: EncodeOptions,
  target: PushTarget,
  onProgress: PushListener,
): Promise<EncodedBlob> {
  const key = recordKey({
    kind: "zstd-chunks",
    version: ENCODING_VERSION,
    blob: file.digestHex,
    chunkBytes: encode.chunkBytes,
    level: encode.level,
    library: libzstdVersion(),
  });
  const known = store.getEncoding(key);
  if (known !== undefined) {
    const { digest, size, indexStart, indexDigest } = known as EncodingRecord & EncodedBlob;
    const state = await findBlob(known, digest, target);
    if (state !== undefined) {
      remember(store, key, known, target.name);
      onProgress(state, file.size);
      return { digest, size, indexStart, indexDigest };
    }
  }
  const encoded = await upload(store.blobPath(file.digestHex), encode, target, (bytes) => onProgress("sending", bytes));
  remember(store, key, { blobHex: file.digestHex, repositories: known?.repositories ?? [], ...encoded }, target.name);
  onProgress("sent", file.size);
  return encoded;
}

/** Looks whether the blob is in the repository, or in another one of the same registry, from where it is mounted. */
async function findBlob(
  known: EncodingRecord,
  digest: Digest,
  { writer, name }: PushTarget,
): Promise<"exists" | "mounted" | undefined> {
  if (await writer.hasBlob(digest)) return "exists";
  const host = name.slice(0, name.indexOf("/") + 1);
  const elsewhere = known.repositories.filter((other) => other.startsWith(host) && other !== name).at(-1);
  if (elsewhere === undefined) return undefined;
  return (await writer.mountBlob(digest, elsewhere.slice(host.length))) ? "mounted" : undefined;
}

/** How many repositories are remembered of a blob. */
const MAX_REPOSITORIES = 16;

function remember(store: Store, key: string, record: EncodingRecord, name: string): void {
  if (record.repositories.at(-1) === name) return;
  const others = record.repositories.filter((other) => other !== name);
  store.putEncoding(key, { ...record, repositories: [...others, name].slice(-MAX_REPOSITORIES) });
}

async function upload(
  path: string,
  encode: EncodeOptions,
  { writer, signal }: PushTarget,
  onProgress: (bytes: number) => void,
): Promise<EncodedBlob> {
  for (let attempt = 1; ; attempt++) {
    const upload = await writer.startUpload(`blob ${path.slice(path.lastIndexOf("/") + 1)}`);
    const pieces = new Pieces(PIECE_BYTES, (piece) => upload.write(piece));
    try {
      const encoded = await encodeBlob(path, encode, (piece) => pieces.write(piece), signal, onProgress);
      await pieces.end();
      await upload.finish(encoded.digest);
      return encoded;
    } catch (error) {
      await pieces.settle();
      if (!signal.aborted) await upload.cancel();
      if (!(error instanceof UploadLost) || attempt === MAX_UPLOADS) throw error;
    }
  }
}

/** Small bytes (a config) or a file as it is. @throws SourceError */
export async function pushBytes(bytes: Uint8Array, digest: Digest, { writer }: PushTarget): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    if (await writer.hasBlob(digest)) return;
    const upload = await writer.startUpload(`blob ${digest}`);
    try {
      await upload.write(bytes);
      await upload.finish(digest);
      return;
    } catch (error) {
      if (!(error instanceof UploadLost) || attempt === MAX_UPLOADS) throw error;
    }
  }
}
