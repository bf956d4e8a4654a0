import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { storeError } from "./errors.ts";
import type { StorePaths } from "./paths.ts";

/**
 * Puts a small file in place: readers see the old one or the new one, whole. With `durable`, so does whoever comes
 * after a power failure.
 * @throws StoreError
 */
export function writeAtomically(paths: StorePaths, path: string, text: string, durable: boolean): void {
  const tmp = paths.newTmp();
  try {
    const fd = openSync(tmp, "wx", 0o600);
    try {
      writeFileSync(fd, text);
      if (durable) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(tmp, path);
    if (durable) syncFolder(dirname(path));
  } catch (error) {
    rmSync(tmp, { force: true });
    throw storeError(error, path, "writing", Buffer.byteLength(text));
  }
}

/** Waits until the names in a folder are on the disk. */
export function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
