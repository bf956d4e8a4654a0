import { type EncodingRecord, recordKey, type Store, type StoredFile } from "../../blobd/store/index.ts";
import { libzstdVersion } from "../../blobd/sys/index.ts";
import type { Digest } from "../../formats/oci/index.ts";
import { type EncodedBlob, type EncodeOptions, encodeBlob } from "./encode-blob.ts";
import type { PushTarget } from "./target.ts";
import { uploadBlob, uploadInPieces } from "./upload.ts";

/** Raise it when the same blob is encoded into other bytes than before. */
const ENCODING_VERSION = 1;

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
  const encoded = await uploadInPieces(target, `blob ${file.digestHex}`, (write) =>
    encodeBlob(store.blobPath(file.digestHex), encode, write, target.signal, (bytes) => onProgress("sending", bytes)),
  );
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

/** Small bytes, such as a config, as a blob. @throws SourceError */
export async function pushBytes(bytes: Uint8Array, digest: Digest, target: PushTarget): Promise<void> {
  if (await target.writer.hasBlob(digest)) return;
  await uploadBlob(target, `blob ${digest}`, async (upload) => {
    await upload.write(bytes);
    return { digest };
  });
}
