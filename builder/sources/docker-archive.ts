/**
 * What `docker save` and `skopeo copy docker-archive:` write: a tar with `manifest.json`, which lists per image the path
 * of its config and of its layers. Layers are `HEX.tar`, `ID/layer.tar` (a link where two are equal) or
 * `blobs/sha256/HEX`; they are plain tars by custom, and compressed where Docker keeps images in containerd.
 */

import { parsed, SourceError, sha256, wrongDigest } from "../../blobd/registry/index.ts";
import {
  type Digest,
  formatReference,
  type ImageConfig,
  isDigest,
  JsonObject,
  MAX_CONFIG_BYTES,
  MAX_LAYERS,
  MAX_MANIFEST_BYTES,
  type Platform,
  parseImageConfig,
  parseReference,
} from "../../formats/oci/index.ts";
import { DETECT_BYTES, detectCompression } from "../decompress/index.ts";
import { type ArchiveIndex, readMemberBytes } from "./archive-index.ts";
import { checkPlatform } from "./documents.ts";
import { hashRange } from "./hash-range.ts";
import type { LayerInfo, Member } from "./image.ts";

interface SavedImage {
  readonly configPath: string;
  readonly tags: readonly string[];
  readonly layerPaths: readonly string[];
}

export interface DockerArchiveImage {
  readonly config: ImageConfig;
  readonly layers: readonly LayerInfo[];
  /** Where the layers are, by digest. */
  readonly members: Readonly<Record<string, Member>>;
}

const MAX_IMAGES = 4096;
const MAX_TAGS = 4096;
const LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar";

/** @throws SourceError */
export async function readDockerArchive(
  name: string,
  archive: ArchiveIndex,
  image: string | undefined,
  platform: Platform,
  signal?: AbortSignal,
): Promise<DockerArchiveImage> {
  const saved = pick(name, parseSaved(name, archive.read("manifest.json", MAX_MANIFEST_BYTES)), image);
  const config = readConfig(name, archive, saved.configPath);
  checkPlatform(name, config.platform, platform);
  const { diffIds } = config;
  if (diffIds.length !== saved.layerPaths.length)
    throw new SourceError(
      "ERR_BAD_MANIFEST",
      `${name}: manifest.json has ${saved.layerPaths.length} layers, the config ${diffIds.length} (rootfs.diff_ids)`,
    );
  const layers: LayerInfo[] = [];
  const members: Record<string, Member> = {};
  for (const [i, path] of saved.layerPaths.entries()) {
    const member = archive.find(path);
    if (!member) throw new SourceError("ERR_NOT_FOUND", `${name}: layer ${path} is not in the archive`);
    const layer = await describe(archive.path, path, member, diffIds[i]!, signal);
    layers.push(layer);
    members[layer.digest!] = member;
  }
  return { config, layers, members };
}

function parseSaved(name: string, bytes: Uint8Array): SavedImage[] {
  return parsed(name, () =>
    JsonObject.parseArray(bytes, "manifest.json", MAX_MANIFEST_BYTES, MAX_IMAGES).map((json) => ({
      configPath: json.string("Config"),
      tags: json.strings("RepoTags", MAX_TAGS),
      layerPaths: json.strings("Layers", MAX_LAYERS),
    })),
  );
}

/** The image with this tag, or the only one. */
function pick(name: string, saved: readonly SavedImage[], image: string | undefined): SavedImage {
  const found = saved.filter((s) => image === undefined || s.tags.some((tag) => isSame(tag, image)));
  if (found.length === 1) return found[0]!;
  const tags = saved.flatMap((s) => s.tags).join(", ") || "none with a name";
  if (found.length === 0)
    throw new SourceError("ERR_NOT_FOUND", `${name}: no such image in the archive; its images are ${tags}`);
  throw new SourceError(
    "ERR_BAD_SOURCE",
    `${name}: the archive has ${saved.length} images, add :REFERENCE; they are ${tags}`,
  );
}

/** Docker writes `app:1` for what a user may call docker.io/library/app:1. */
function isSame(tag: string, image: string): boolean {
  try {
    return formatReference(parseReference(tag)) === image;
  } catch {
    return tag === image;
  }
}

function readConfig(name: string, archive: ArchiveIndex, path: string): ImageConfig {
  const bytes = archive.read(path, MAX_CONFIG_BYTES);
  // Its name is its digest: `HEX.json`, `blobs/sha256/HEX`.
  const hex = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(path)?.[1];
  const found = sha256(bytes);
  if (hex !== undefined && found !== `sha256:${hex}`)
    throw wrongDigest(`${name}: config ${path}`, found, `sha256:${hex}`);
  return parsed(name, () => parseImageConfig(bytes));
}

/** A layer's digest is its diff id while it is a plain tar; of a compressed one the name may tell, else it is hashed. */
async function describe(
  archive: string,
  path: string,
  member: Member,
  diffId: Digest,
  signal: AbortSignal | undefined,
): Promise<LayerInfo> {
  const compression = detectCompression(
    readMemberBytes(archive, { ...member, size: Math.min(DETECT_BYTES, member.size) }),
  );
  const mediaType = compression === "none" ? LAYER_TYPE : `${LAYER_TYPE}.${compression === "gzip" ? "gzip" : "zstd"}`;
  const named = `sha256:${/(?:^|\/)blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1]}`;
  const digest =
    compression === "none"
      ? diffId
      : isDigest(named)
        ? named
        : await hashRange(archive, member.offset, member.size, signal);
  return { digest, size: member.size, mediaType, compression, diffId };
}
