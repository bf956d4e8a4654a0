import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes a folder and those above it that are absent, like `mkdir -p`. Node's own `recursive` option reports a read-only
 * file system as ENOENT, and below /proc, where nothing can be made, it never ends.
 *
 * @param mode of the folders made, less the umask
 * @throws the system's error for the folder that could not be made; EEXIST is none when `path` is there, whatever it is.
 */
export function makeFolders(path: string, mode = 0o777): void {
  if (makeOne(path, mode)) return;
  makeFolders(dirname(path), mode);
  makeOne(path, mode);
}

/** @returns false when the folder above is absent. */
function makeOne(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" && !existsSync(dirname(path))) return false;
    if (code !== "EEXIST") throw error;
  }
  return true;
}
