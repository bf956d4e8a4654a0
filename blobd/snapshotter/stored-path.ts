import { join } from "node:path";
import type { StoredFile } from "../store/index.ts";
import type { ServedImage } from "./remote/index.ts";

/** Where files are: those of an image that is served as it tells, the others in the store. */
export function pathIn(storeRoot: string, served: ServedImage | null): (file: StoredFile) => string {
  return ({ digestHex }) => served?.paths.get(digestHex) ?? join(storeRoot, "blobs/sha256", digestHex);
}
