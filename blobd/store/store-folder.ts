import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeFolders } from "../sys/index.ts";
import { StoreError, storeError } from "./errors.ts";
import type { StorePaths } from "./paths.ts";

/** Makes the folders. A folder that holds anything else is refused: `--store /` must not clean up /tmp. */
export function prepare(paths: StorePaths): void {
  try {
    // Only the owner may look in: images hold private files and set-user-ID programs.
    makeFolders(paths.root, 0o700);
    const names = readdirSync(paths.root);
    if (!names.includes(paths.markerName)) {
      if (names.length > 0) throw new StoreError("ERR_STORE_CORRUPT", paths.root, notAStore(paths, names));
      writeFileSync(join(paths.root, paths.markerName), "");
    }
    for (const folder of paths.folders) makeFolders(folder, 0o700);
  } catch (error) {
    throw storeError(error, paths.root, "opening the store");
  }
}

function notAStore({ root, markerName }: StorePaths, names: readonly string[]): string {
  return `${root} is not a store of this version: it holds ${names.slice(0, 3).join(", ")} and no file ${markerName}`;
}

/** Removes files in flight and lock files; nobody else may use the store meanwhile. */
export function removeLeftovers(paths: StorePaths): void {
  for (const folder of [paths.tmp, paths.locks]) {
    try {
      for (const name of readdirSync(folder)) rmSync(join(folder, name), { force: true });
    } catch (error) {
      throw storeError(error, folder, "cleaning up");
    }
  }
}
