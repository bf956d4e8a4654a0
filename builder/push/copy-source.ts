/** The source of a converted image into another repository, byte for byte, so that an index there may name it. */
import { downloadBlob, type Expected, registryOpener, SourceError } from "../../blobd/registry/index.ts";
import { isForeignLayer, isIndex, isManifest } from "../../formats/oci/index.ts";
import type { ManifestDescriptor } from "./documents.ts";
import type { PushTarget } from "./target.ts";
import { uploadInPieces } from "./upload.ts";

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
  const { mediaType } = descriptor;
  // Attestations and the like are manifests as well; of anything else nobody knows what it needs.
  if (!isManifest(mediaType) && !isIndex(mediaType))
    throw new SourceError(
      "ERR_UNSUPPORTED",
      `${from.name}: ${descriptor.digest} is a ${mediaType}, expected a manifest`,
    );
  const { document, bytes } = await from.reader.listed(descriptor);
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
  const request = { digest: blob.digest, size: blob.size, what, signal };
  const { client, options } = from.reader;
  await uploadInPieces(to, what, async (write) => {
    for await (const chunk of downloadBlob([registryOpener(client, request)], request, options.retry))
      await write(chunk);
    return { digest: blob.digest };
  });
}
