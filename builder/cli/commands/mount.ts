import { mkdirSync } from "node:fs";
import { mountErofs, unmount } from "../../../blobd/sys/index.ts";
import { type ImageOptions, withImage } from "./open.ts";

export async function mount(target: string, folder: string, options: ImageOptions): Promise<void> {
  await withImage(target, options, ({ metaPath, devicePaths }) => {
    mkdirSync(folder, { recursive: true });
    const how = mountErofs({ metaPath, devicePaths, target: folder });
    const devices =
      devicePaths.length === 0 ? "" : ` and ${devicePaths.length} blob${devicePaths.length === 1 ? "" : "s"}`;
    process.stdout.write(
      `${folder}: ${target}, read-only, from ${how === "loop" ? "loop devices" : "files"} (metadata${devices})\n`,
    );
  });
}

export async function umount(folder: string): Promise<void> {
  unmount(folder);
}
