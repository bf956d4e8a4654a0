import { statfsSync } from "node:fs";
import { makeFolders, mountChecked, mountErofs, unmount } from "../../../blobd/sys/index.ts";
import { SUPER_MAGIC_V1 } from "../../../formats/erofs/index.ts";
import { verityRoots } from "../../open/index.ts";
import { UsageError } from "../exit.ts";
import { type ImageOptions, withImage } from "./open.ts";

interface MountOptions extends ImageOptions {
  /** Whether the kernel is to check every block against the image's hash trees. */
  readonly verity?: boolean;
}

export async function mount(target: string, folder: string, options: MountOptions): Promise<void> {
  await withImage(target, options, (image) => {
    const { metaPath, devicePaths } = image;
    const roots = options.verity ? verityRoots(image) : undefined;
    makeFolders(folder);
    const how = roots === undefined ? mountErofs({ metaPath, devicePaths, target: folder }) : "dm-verity";
    if (roots !== undefined) {
      const paths = [metaPath, ...devicePaths];
      mountChecked(
        roots.map((verity, i) => ({ path: paths[i]!, verity })),
        folder,
      );
    }
    const devices =
      devicePaths.length === 0 ? "" : ` and ${devicePaths.length} blob${devicePaths.length === 1 ? "" : "s"}`;
    process.stdout.write(`${folder}: ${target}, read-only, from ${MOUNTED_FROM[how]} (metadata${devices})\n`);
  });
}

const MOUNTED_FROM = { file: "files", loop: "loop devices", "dm-verity": "devices checked by dm-verity" } as const;

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
