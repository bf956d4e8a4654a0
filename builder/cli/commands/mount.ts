import { statfsSync } from "node:fs";
import { makeFolders, mountErofs, unmount } from "../../../blobd/sys/index.ts";
import { SUPER_MAGIC_V1 } from "../../../formats/erofs/index.ts";
import { UsageError } from "../exit.ts";
import { type ImageOptions, withImage } from "./open.ts";

export async function mount(target: string, folder: string, options: ImageOptions): Promise<void> {
  await withImage(target, options, ({ metaPath, devicePaths }) => {
    makeFolders(folder);
    const how = mountErofs({ metaPath, devicePaths, target: folder });
    const devices =
      devicePaths.length === 0 ? "" : ` and ${devicePaths.length} blob${devicePaths.length === 1 ? "" : "s"}`;
    process.stdout.write(
      `${folder}: ${target}, read-only, from ${how === "loop" ? "loop devices" : "files"} (metadata${devices})\n`,
    );
  });
}

/** Undoes mounts of EROFS only: a slip of the keyboard does not take down /home. */
export async function umount(folder: string): Promise<void> {
  const nothing = new UsageError(`${folder}: no EROFS image is mounted there`);
  if (statfsSync(folder).type !== SUPER_MAGIC_V1) throw nothing;
  try {
    unmount(folder);
  } catch (error) {
    // A folder inside a mounted image.
    throw (error as NodeJS.ErrnoException).code === "EINVAL" ? nothing : error;
  }
}
