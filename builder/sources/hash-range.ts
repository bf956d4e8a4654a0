import { createHash } from "node:crypto";
import type { Digest } from "../../formats/oci/index.ts";
import { readFileRange } from "./file-range.ts";

/**
 * sha256 of a part of a file.
 * @throws SourceError ERR_NOT_FOUND, ERR_IO
 */
export async function hashRange(path: string, offset: number, size: number, signal?: AbortSignal): Promise<Digest> {
  const hash = createHash("sha256");
  for await (const chunk of readFileRange(path, offset, size, signal)) hash.update(chunk);
  return `sha256:${hash.digest("hex")}`;
}
