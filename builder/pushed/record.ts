import { type ConvertedImage, SourceError } from "../../blobd/registry/index.ts";
import type { ImageRecord, StoredFile } from "../../blobd/store/index.ts";
import { digestHex, type ErofsImageLayers, type ErofsLayer } from "../../formats/oci/index.ts";
import { BLOCK_SIZE } from "../../formats/tree/index.ts";
import type { OpenedImage } from "../open/index.ts";

/** A layer's content as a file of the store. @throws SourceError when its hash tree would lie behind its end */
export function storedLayer({ contentDigest, verity }: ErofsLayer, size: number, name: string): StoredFile {
  const blocks = size / BLOCK_SIZE;
  if (verity !== undefined && verity.dataBlocks >= blocks)
    throw new SourceError(
      "ERR_BAD_MANIFEST",
      `${name}: the hash tree of ${contentDigest} is said to lie behind its ${blocks} blocks`,
    );
  return { digestHex: digestHex(contentDigest), size, blocks, ...(verity && { verity }) };
}

/** What the store remembers of a converted image that was fetched. */
export function imageRecord(
  { manifestDigest, sourceDigest, config }: ConvertedImage,
  name: string,
  meta: StoredFile,
  blobs: readonly StoredFile[],
): { key: string; record: ImageRecord } {
  const record = {
    // The image that somebody asked for; the converted form is what its key is.
    manifestDigest: sourceDigest ?? manifestDigest,
    references: [name],
    meta,
    blobs,
    layers: [],
    config: JSON.parse(Buffer.from(config.raw).toString()),
    stats: {},
    createdMs: Date.now(),
  };
  return { key: digestHex(manifestDigest), record };
}

/** The metadata name their blobs by digest: layers in another order would be another image's files. @throws SourceError */
export function checkTags(image: OpenedImage, { devices }: ErofsImageLayers, name: string): void {
  const digests = devices.map(({ contentDigest }) => digestHex(contentDigest));
  for (const [index, { tag }] of image.reader.devices.entries())
    if (/^[0-9a-f]{64}$/.test(tag) && tag !== digests[index])
      throw new SourceError(
        "ERR_BAD_MANIFEST",
        `${name}: layer ${index + 1} holds ${digests[index]}, its metadata say ${tag}`,
      );
}
