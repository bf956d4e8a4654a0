import { mkdirSync } from "node:fs";
import { join } from "node:path";

/** Where a store's blobs are shown. */
export function defaultMountPoint(storeRoot: string): string {
  return join(storeRoot, "serve");
}

/** Makes the folder of a mount, unless it is there. @throws Error of the file system */
export function makeMountPoint(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // ENOTCONN: a mount whose server was killed is still there; it goes when we mount.
    if (code !== "EEXIST" && code !== "ENOTCONN") throw error;
  }
}
