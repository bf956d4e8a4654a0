import { ArchiveIndex } from "./archive-index.ts";
import { readDockerArchive } from "./docker-archive.ts";
import { type ImageDocuments, layersOf, readDocuments } from "./documents.ts";
import { SourceError } from "./errors.ts";
import type { LayerAccess, LayerInfo, Member, ResolvedImage } from "./image.ts";
import { archiveReader, blobPath, directoryReader, layoutStore } from "./layout.ts";
import { type ReadOptions, registryOptions } from "./options.ts";
import { resolveRegistry } from "./registry/image.ts";
import { formatSource, type SourceSpec } from "./spec.ts";
import { describeTarFile, emptyConfig } from "./tar-file.ts";

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
      return resolveOciArchive(spec);
    case "docker-archive":
      return resolveDockerArchive(spec, options.signal);
    case "tar": {
      const { layer, identity } = await describeTarFile(spec.path, options.signal);
      return withoutDocuments(spec, layer, { kind: "tar", path: spec.path, identity });
    }
    case "dir": {
      const layer: LayerInfo = { digest: null, size: 0, mediaType: "inode/directory", compression: "none" };
      return withoutDocuments(spec, layer, { kind: "dir", path: spec.path });
    }
  }
}

async function resolveOciArchive(spec: SourceSpec & { kind: "oci-archive" }): Promise<ResolvedImage> {
  const archive = ArchiveIndex.open(spec.path);
  const image = fromDocuments(spec, await readDocuments(layoutStore(spec, archiveReader(archive)), spec.platform));
  const members: Record<string, Member> = {};
  for (const { digest } of image.layers) {
    const member = archive.find(blobPath(digest!));
    if (!member) throw new SourceError("ERR_NOT_FOUND", `${image.reference}: layer ${digest} is not in the archive`);
    members[digest!] = member;
  }
  return { ...image, access: { kind: "archive", path: spec.path, members } };
}

async function resolveDockerArchive(
  spec: SourceSpec & { kind: "docker-archive" },
  signal: AbortSignal | undefined,
): Promise<ResolvedImage> {
  const reference = formatSource(spec);
  const archive = ArchiveIndex.open(spec.path);
  const { config, layers, members } = await readDockerArchive(reference, archive, spec.image, spec.platform, signal);
  const access: LayerAccess = { kind: "archive", path: spec.path, members };
  return { spec, reference, manifestDigest: null, platform: config.platform, config, layers, access };
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
