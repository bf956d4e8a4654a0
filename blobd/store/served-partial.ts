import { readFileSync } from "node:fs";
import { FormatError } from "../../formats/bytes/index.ts";
import { ChunkMap } from "./chunk-map.ts";
import { StoreError, storeError } from "./errors.ts";
import { PartialBlob } from "./partial-blob.ts";
import { usableIndex } from "./partial-source.ts";
import { isHex, StorePaths } from "./paths.ts";

/**
 * Opens a blob that `blobd serve` shows, in another process: to see what is there, and to read that. The service has it open
 * and verified, so nobody removes it meanwhile.
 * @param key the name of the file that it is shown as
 * @throws StoreError when there is no such blob, or not any more: it may be complete by now
 */
export function openServedPartial(storeRoot: string, key: string): PartialBlob {
  const paths = new StorePaths(storeRoot);
  if (!isHex(key))
    throw new StoreError("ERR_STORE_CORRUPT", paths.partial, `${key}: expected the name of a served blob`);
  const path = paths.partialFile(key, "index");
  const map = ChunkMap.open(paths.partialFile(key, "map"));
  try {
    const index = usableIndex(readFileSync(path), map.subject.storedEnd);
    return new PartialBlob(key, index, paths.partialFile(key, "data"), map);
  } catch (error) {
    map.close();
    if (error instanceof FormatError)
      throw new StoreError("ERR_STORE_CORRUPT", path, `${path}: ${error.message}`, error);
    throw storeError(error, path, "opening");
  }
}
