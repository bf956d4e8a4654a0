import { readFileSync, statSync } from "node:fs";
import { MAX_PREFETCH_BYTES, type PrefetchList, parsePrefetchList } from "../../../formats/oci/index.ts";
import { UsageError } from "../exit.ts";

/**
 * A list of what is read first, as `--record` and `blobd trace` write it.
 * @param option that named the file, for errors
 * @throws UsageError, DocumentError
 */
export function readPrefetchList(option: string, path: string): PrefetchList {
  const { size } = statSync(path);
  if (size > MAX_PREFETCH_BYTES)
    throw new UsageError(`${option} ${path}: has ${size} bytes, expected a list of at most ${MAX_PREFETCH_BYTES}`);
  return parsePrefetchList(readFileSync(path));
}
