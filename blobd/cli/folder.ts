import { lstatSync, realpathSync } from "node:fs";
import { UsageError } from "./exit.ts";

/**
 * A directory's path without symlinks.
 * @throws UsageError when there is none
 */
export function folder(path: string): string {
  try {
    const real = realpathSync(path);
    if (lstatSync(real).isDirectory()) return real;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A dead mount: it will be replaced.
    if (code === "ENOTCONN") return path;
    throw new UsageError(`${path}: ${code === "ENOENT" ? "there is no such directory" : code}`);
  }
  throw new UsageError(`${path}: is no directory`);
}
