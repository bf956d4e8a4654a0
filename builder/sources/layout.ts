/** OCI image layouts, as a directory or as a tar. OCI image spec, image-layout.md. */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ioError, parsed, SourceError, sha256 } from "../../blobd/registry/index.ts";
import {
  type Descriptor,
  type Digest,
  digestHex,
  type Index,
  imageEntries,
  isIndex,
  MAX_CONFIG_BYTES,
  MAX_MANIFEST_BYTES,
  parseManifest,
} from "../../formats/oci/index.ts";
import { formatSource, type LayoutImage, type SourceSpec } from "../names/index.ts";
import type { ArchiveIndex } from "./archive-index.ts";
import type { DocumentStore } from "./documents.ts";

/** Small files of a layout, by path from its root. */
export type LayoutReader = (path: string, limit: number) => Promise<Uint8Array>;

/** What an entry is called: its tag or name by the specification, and the full name that containerd adds. */
const NAME_ANNOTATIONS = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/** Path of a blob in a layout. */
export function blobPath(digest: Digest): string {
  return `blobs/sha256/${digestHex(digest)}`;
}

export function directoryReader(root: string): LayoutReader {
  return async (path, limit) => {
    const file = join(root, path);
    try {
      const { size } = await stat(file);
      if (size > limit)
        throw new SourceError("ERR_LIMIT", `${file}: is ${size} bytes long, at most ${limit} are accepted`);
      return await readFile(file);
    } catch (error) {
      throw ioError(file, error);
    }
  };
}

export function archiveReader(archive: ArchiveIndex): LayoutReader {
  return async (path, limit) => archive.read(path, limit);
}

/** The documents of the image that `spec` names in a layout. */
export function layoutStore(spec: SourceSpec & { kind: "oci" | "oci-archive" }, read: LayoutReader): DocumentStore {
  const name = formatSource(spec);
  return {
    name,
    async root() {
      const bytes = await read("index.json", MAX_MANIFEST_BYTES);
      const index = parsed(name, () => parseManifest(bytes, "application/vnd.oci.image.index.v1+json"));
      if (index.kind !== "index") throw new SourceError("ERR_BAD_MANIFEST", `${name}: index.json is not an index`);
      return { document: pickImage(name, index, spec.image), digest: sha256(bytes) };
    },
    manifest: ({ digest }) => read(blobPath(digest), MAX_MANIFEST_BYTES),
    blob: ({ digest }) => read(blobPath(digest), MAX_CONFIG_BYTES),
  };
}

/** The index with only those entries that `image` may mean: what is left differs by platform alone. */
function pickImage(name: string, index: Index, image: LayoutImage | undefined): Index {
  const entries = imageEntries(index);
  const chosen = entries.filter((entry) => image === undefined || isNamed(entry, image));
  const names = namesOf(entries);
  const listed = names.length > 0 ? `its images are ${names.join(", ")}` : `it lists ${entries.length} without a name`;
  if (chosen.length === 0) throw new SourceError("ERR_NOT_FOUND", `${name}: no such image in the layout; ${listed}`);
  const perPlatform = chosen.every((entry) => entry.platform !== undefined && !isIndex(entry.mediaType));
  if (chosen.length > 1 && (namesOf(chosen).length > 1 || !perPlatform))
    throw new SourceError("ERR_BAD_SOURCE", `${name}: several images could be meant; add :NAME or @DIGEST, ${listed}`);
  return { ...index, manifests: chosen };
}

function isNamed(entry: Descriptor, image: LayoutImage): boolean {
  if ("digest" in image) return entry.digest === image.digest;
  return NAME_ANNOTATIONS.some((key) => entry.annotations.get(key) === image.name);
}

function namesOf(entries: readonly Descriptor[]): string[] {
  const names = entries.map((entry) => NAME_ANNOTATIONS.map((key) => entry.annotations.get(key)).find((n) => n));
  return [...new Set(names.filter((n) => n !== undefined))];
}
