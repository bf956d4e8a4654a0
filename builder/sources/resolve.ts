import { stat } from "node:fs/promises";
import { ioError, SourceError } from "../../blobd/registry/index.ts";
import { formatSource, type SourceSpec } from "../names/index.ts";
import { ArchiveIndex } from "./archive-index.ts";
import { readDockerArchive } from "./docker-archive.ts";
import { type ImageDocuments, layersOf, readDocuments } from "./documents.ts";
import type { LayerAccess, LayerInfo, Member, ResolvedImage } from "./image.ts";
import { archiveReader, blobPath, directoryReader, layoutStore } from "./layout.ts";
import { type ReadOptions, registryOptions } from "./options.ts";
import { resolveRegistry } from "./registry-image.ts";
import { plainArchive, releaseArchive } from "./spool.ts";
import { describeTarFile, emptyConfig } from "./tar-file.ts";

/** Images may be large, but this is what nobody means. */
const DEFAULT_MAX_UNPACKED_BYTES = 2 ** 38;
/** On a disk, where /tmp may be in memory. */
const DEFAULT_SPOOL_DIRECTORY = "/var/tmp";

/**
 * Finds an image and reads its manifest and config, verified by their digests.
 * @throws SourceError
 */
export async function resolveImage(spec: SourceSpec, options: ReadOptions = {}): Promise<ResolvedImage> {
  switch (spec.kind) {
    case "registry": {
      const { documents, access } = await resolveRegistry(spec, registryOptions(options));
      const { registry, repository } = spec.reference;
      const reference = `${registry}/${repository}@${documents.manifestDigest}`;
      return { ...fromDocuments(spec, documents), reference, access };
    }
    case "oci": {
      const documents = await readDocuments(layoutStore(spec, directoryReader(spec.path)), spec.platform);
      return { ...fromDocuments(spec, documents), access: { kind: "layout", path: spec.path } };
    }
    case "oci-archive":
      return resolveOciArchive(spec, options);
    case "docker-archive":
      return resolveDockerArchive(spec, options);
    case "tar": {
      const { layer, identity } = await describeTarFile(spec.path, options.signal);
      return withoutDocuments(spec, layer, { kind: "tar", path: spec.path, identity });
    }
    case "dir": {
      await checkDirectory(spec.path);
      const layer: LayerInfo = { digest: null, size: 0, mediaType: "inode/directory", compression: "none" };
      return withoutDocuments(spec, layer, { kind: "dir", path: spec.path });
    }
  }
}

/** Before the work is told to begin. */
async function checkDirectory(path: string): Promise<void> {
  const found = await stat(path).catch((error) => {
    throw ioError(path, error);
  });
  if (!found.isDirectory()) throw new SourceError("ERR_BAD_SOURCE", `${path}: is not a directory`);
}

function resolveOciArchive(spec: SourceSpec & { kind: "oci-archive" }, options: ReadOptions): Promise<ResolvedImage> {
  return withArchive(spec.path, options, async (archive) => {
    const image = fromDocuments(spec, await readDocuments(layoutStore(spec, archiveReader(archive)), spec.platform));
    const members: Record<string, Member> = {};
    for (const { digest } of image.layers) {
      const member = archive.find(blobPath(digest!));
      if (!member) throw new SourceError("ERR_NOT_FOUND", `${image.reference}: layer ${digest} is not in the archive`);
      members[digest!] = member;
    }
    return { ...image, access: { kind: "archive", path: archive.path, members } };
  });
}

function resolveDockerArchive(
  spec: SourceSpec & { kind: "docker-archive" },
  options: ReadOptions,
): Promise<ResolvedImage> {
  return withArchive(spec.path, options, async (archive) => {
    const reference = formatSource(spec);
    const image = await readDockerArchive(reference, archive, spec.image, spec.platform, options.signal);
    const { config, layers, members } = image;
    const access: LayerAccess = { kind: "archive", path: archive.path, members };
    return { spec, reference, manifestDigest: null, platform: config.platform, config, layers, access };
  });
}

/** Closes what an image of `resolveImage` still holds: the unpacked copy of a compressed archive. Not needed at exit. */
export function releaseImage({ access }: Pick<ResolvedImage, "access">): void {
  if (access.kind === "archive") releaseArchive(access.path);
}

/** Opens an archive, unpacked if need be; the copy outlives a successful `use`. */
async function withArchive(
  path: string,
  { signal, maxUnpackedBytes = DEFAULT_MAX_UNPACKED_BYTES, env = process.env }: ReadOptions,
  use: (archive: ArchiveIndex) => Promise<ResolvedImage>,
): Promise<ResolvedImage> {
  const directory = env.TMPDIR ?? DEFAULT_SPOOL_DIRECTORY;
  const plain = await plainArchive(path, { signal, limitBytes: maxUnpackedBytes, directory });
  try {
    return await use(ArchiveIndex.open(plain, path));
  } catch (error) {
    releaseArchive(plain);
    throw error;
  }
}

function fromDocuments(spec: SourceSpec, documents: ImageDocuments): Omit<ResolvedImage, "access"> {
  const { manifestDigest, manifest, config } = documents;
  const name = formatSource(spec);
  const platform = config.platform.architecture === "" ? spec.platform : config.platform;
  return { spec, reference: name, manifestDigest, platform, config, layers: layersOf(name, manifest, config) };
}

function withoutDocuments(spec: SourceSpec, layer: LayerInfo, access: LayerAccess): ResolvedImage {
  const { platform } = spec;
  const config = emptyConfig(platform);
  return { spec, reference: formatSource(spec), manifestDigest: null, platform, config, layers: [layer], access };
}
