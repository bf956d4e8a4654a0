import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type Expected, ioError, SourceError, StreamCheck, wrongLength } from "../../blobd/registry/index.ts";
import type { Digest } from "../../formats/oci/index.ts";
import { formatSource } from "../names/index.ts";
import { readFileRange } from "./file-range.ts";
import type { LayerInfo, ResolvedImage } from "./image.ts";
import { blobPath } from "./layout.ts";
import { type ReadOptions, registryOptions } from "./options.ts";
import { openRegistryLayer } from "./registry-image.ts";
import { openTarFile } from "./tar-file.ts";

/** What a worker thread needs of an image to read its layers: plain data. */
export type LayerOrigin = Pick<ResolvedImage, "spec" | "access">;

/**
 * The bytes of one layer, exactly as stored. Length and sha256 are checked on the way: whoever has read to the end
 * without an error has the right bytes, and must not make them visible before. Transfers from a registry are tried again
 * and go on where they broke off. Chunks belong to the consumer. A consumer that stops early ends the transfer.
 *
 * @example for await (const chunk of openLayer(image, image.layers[0]!)) decompressor.push(chunk);
 * @throws SourceError; the signal's reason when it is aborted
 */
export async function* openLayer(
  origin: LayerOrigin,
  layer: LayerInfo,
  options: ReadOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { spec, access } = origin;
  const { signal, onProgress } = options;
  const { digest, size } = layer;
  if (digest === null || access.kind === "dir")
    throw new SourceError("ERR_BAD_SOURCE", `${formatSource(spec)}: a directory has no bytes, it is walked`);
  const what = `${formatSource(spec)}: layer ${digest}`;
  switch (access.kind) {
    case "registry":
      yield* openRegistryLayer(
        access,
        { digest, size, what, signal, onProgress },
        layer.urls ?? [],
        registryOptions(options),
      );
      return;
    case "layout":
      yield* openBlobFile(join(access.path, blobPath(digest)), { digest, size }, what, options);
      return;
    case "archive": {
      const member = access.members[digest];
      if (member === undefined) throw new SourceError("ERR_NOT_FOUND", `${what}: is not one of the image's`);
      if (member.size !== size) throw wrongLength(what, member.size, size);
      yield* verified(readFileRange(access.path, member.offset, size, signal), { digest, size }, what, options);
      return;
    }
    case "tar": {
      let received = 0;
      for await (const chunk of openTarFile(access.path, access.identity, signal)) {
        received += chunk.length;
        onProgress?.(received);
        yield chunk;
      }
    }
  }
}

async function* openBlobFile(
  path: string,
  expected: { digest: Digest; size: number },
  what: string,
  options: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { size } = await stat(path).catch((error) => {
    throw ioError(path, error);
  });
  if (size !== expected.size) throw wrongLength(what, size, expected.size);
  yield* verified(readFileRange(path, 0, size, options.signal), expected, what, options);
}

async function* verified(
  chunks: AsyncIterable<Uint8Array>,
  expected: Expected,
  what: string,
  { onProgress }: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const check = new StreamCheck(expected, what);
  for await (const chunk of chunks) {
    check.add(chunk);
    onProgress?.(check.received);
    yield chunk;
  }
  check.finish();
}
