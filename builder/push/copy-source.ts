/** The source of a converted image into another repository, byte for byte, so that an index there may name it. */
import {
  downloadBlob,
  type Expected,
  RegistryClient,
  registryOpener,
  SourceError,
  UploadLost,
} from "../../blobd/registry/index.ts";
import { isForeignLayer, isIndex, isManifest, parseManifest } from "../../formats/oci/index.ts";
import type { ManifestDescriptor } from "./documents.ts";
import { Pieces } from "./pieces.ts";
import type { PushTarget } from "./target.ts";

const PIECE_BYTES = 8 << 20;
const MAX_UPLOADS = 3;
const MAX_DEPTH = 3;

/**
 * Copies a manifest or index and all that it names. What the target has is not sent; within one registry, blobs are mounted.
 * @throws SourceError
 */
export async function copyManifest(
  from: PushTarget,
  to: PushTarget,
  descriptor: ManifestDescriptor,
  depth = 0,
): Promise<void> {
  if (depth > MAX_DEPTH)
    throw new SourceError("ERR_BAD_MANIFEST", `${from.name}: more than ${MAX_DEPTH} indexes inside each other`);
  const bytes = await from.reader.listedBytes(descriptor);
  const { mediaType } = descriptor;
  // Attestations and the like are manifests as well; of anything else nobody knows what it needs.
  if (!isManifest(mediaType) && !isIndex(mediaType))
    throw new SourceError(
      "ERR_UNSUPPORTED",
      `${from.name}: ${descriptor.digest} is a ${mediaType}, expected a manifest`,
    );
  const document = parseManifest(bytes, mediaType);
  if (document.kind === "index") for (const entry of document.manifests) await copyManifest(from, to, entry, depth + 1);
  else
    for (const blob of [document.config, ...document.layers])
      if (!isForeignLayer(blob.mediaType)) await copyBlob(from, to, blob);
  await to.writer.putManifest(descriptor.digest, mediaType, bytes);
}

async function copyBlob(from: PushTarget, to: PushTarget, blob: Expected): Promise<void> {
  const { writer, signal } = to;
  if (await writer.hasBlob(blob.digest)) return;
  if (from.registry === to.registry && (await writer.mountBlob(blob.digest, from.repository))) return;
  const what = `${from.name}: blob ${blob.digest}`;
  const { client, options } = from.reader;
  const { env, retry } = options;
  for (let attempt = 1; ; attempt++) {
    const upload = await writer.startUpload(what);
    const pieces = new Pieces(PIECE_BYTES, (piece) => upload.write(piece));
    try {
      const reading = new RegistryClient(client.endpoint, client.repository, { env, stallMs: retry.stallMs, signal });
      const request = { digest: blob.digest, size: blob.size, what, signal };
      for await (const chunk of downloadBlob([registryOpener(reading, request)], request, retry))
        await pieces.write(chunk);
      await pieces.end();
      await upload.finish(blob.digest);
      return;
    } catch (error) {
      await pieces.settle();
      if (!signal.aborted) await upload.cancel();
      if (!(error instanceof UploadLost) || attempt === MAX_UPLOADS) throw error;
    }
  }
}
