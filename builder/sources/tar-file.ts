/** One tar file as an image of one layer. */
import { stat } from "node:fs/promises";
import { ioError, SourceError } from "../../blobd/registry/index.ts";
import { type Digest, type ImageConfig, type Platform, parseImageConfig } from "../../formats/oci/index.ts";
import { readFileRange } from "./file-range.ts";
import { hashRange } from "./hash-range.ts";
import type { FileIdentity, LayerInfo } from "./image.ts";

/**
 * Describes a tar file as a layer. It is read through once for its digest, by which a conversion is found again: that
 * costs 1 s for a gigabyte, a tenth of converting it.
 *
 * @throws SourceError
 */
export async function describeTarFile(
  path: string,
  signal?: AbortSignal,
): Promise<{ layer: LayerInfo & { digest: Digest }; identity: FileIdentity }> {
  const identity = await identify(path);
  const size = Number(identity.size);
  const digest = await hashRange(path, 0, size, signal);
  await checkUnchanged(path, identity);
  return { layer: { digest, size, mediaType: "application/x-tar", compression: "detect" }, identity };
}

/**
 * The bytes of a file that `describeTarFile` described.
 * @throws SourceError ERR_IO when it has changed since
 */
export async function* openTarFile(
  path: string,
  identity: FileIdentity,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  await checkUnchanged(path, identity);
  yield* readFileRange(path, 0, Number(identity.size), signal);
  await checkUnchanged(path, identity);
}

async function identify(path: string): Promise<FileIdentity> {
  const found = await stat(path, { bigint: true }).catch((error) => {
    throw ioError(path, error);
  });
  if (!found.isFile())
    throw new SourceError("ERR_BAD_SOURCE", `${path}: is no regular file; it is read more than once, so save it first`);
  const { dev, ino, size, mtimeNs, ctimeNs } = found;
  return { dev, ino, size, mtimeNs, ctimeNs };
}

async function checkUnchanged(path: string, before: FileIdentity): Promise<void> {
  const now = await identify(path);
  for (const field of ["dev", "ino", "size", "mtimeNs", "ctimeNs"] as const)
    if (now[field] !== before[field])
      throw new SourceError(
        "ERR_IO",
        `${path}: changed while it was read (${field} was ${before[field]}, is ${now[field]})`,
      );
}

/** The config of a source that has none. */
export function emptyConfig(platform: Platform): ImageConfig {
  const { os, architecture, variant } = platform;
  const document = {
    architecture,
    os,
    ...(variant && { variant }),
    config: {},
    rootfs: { type: "layers", diff_ids: [] },
  };
  return parseImageConfig(Buffer.from(JSON.stringify(document)));
}
