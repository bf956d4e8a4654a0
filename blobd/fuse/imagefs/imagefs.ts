import { InitFlag, InitFlag2 } from "../../../formats/fuse/index.ts";
import { removeMappings } from "../dax-requests.ts";
import type { DaxWindow } from "../dax-window.ts";
import type { FileSystem, Handler, WantedInit } from "../filesystem.ts";
import type { FuseRequest } from "../request.ts";
import { getattr, statfs } from "./attributes.ts";
import type { ImageConfig } from "./config.ts";
import { lseek, read, readMapped } from "./data.ts";
import { lookup, readdir, readlink } from "./entries.ts";
import { ENODEV, EROFS } from "./linux.ts";
import { setupMapping } from "./mapping.ts";
import type { ImageShared } from "./shared.ts";
import { ImageVolume } from "./volume.ts";
import { getxattr, listxattr } from "./xattrs.ts";

/** Changes, refused as Linux refuses them on a read-only file system, for a guest that has not mounted it as one. */
const CHANGES = [
  ...["setattr", "symlink", "mknod", "mkdir", "unlink", "rmdir", "rename", "link", "create", "tmpfile", "write"],
  ...["fallocate", "copyFileRange", "setxattr", "removexattr"],
] as const;

/**
 * Serves an image's tree, for one thread. There is no OPEN and no OPENDIR: the kernel learns at the first that it need not
 * ask, and keeps what it read; all that it is told holds as long as the mount.
 *
 * @param shared what `createImageShared` made, in the same process
 * @param window the device's, where there is one
 */
export function openImage(config: ImageConfig, shared: ImageShared, window?: DaxWindow): FileSystem {
  const volume = new ImageVolume(config, shared, window);
  const refuse: Handler = () => -EROFS;
  return {
    ...Object.fromEntries(CHANGES.map((name) => [name, refuse])),
    init: () => wanted(volume),
    // Linux sends no REMOVEMAPPING when it unmounts.
    destroy: () => volume.window?.removeAll(),
    forget: () => {},
    lookup: (request) => lookup(volume, request),
    getattr: (request) => getattr(volume, request),
    readlink: (request) => readlink(volume, request),
    readdir: (request, plus) => readdir(volume, request, plus),
    read: (request) => read(volume, request),
    lseek: (request) => lseek(volume, request),
    statfs: (request) => statfs(volume, request),
    getxattr: (request) => getxattr(volume, request),
    listxattr: (request) => listxattr(volume, request),
    setupMapping: (request) => setupMapping(volume, request),
    removeMapping: (request: FuseRequest) =>
      volume.window === undefined ? -ENODEV : removeMappings(request, volume.window),
    ...(volume.absent && {
      resume: () => volume.absent!.resume(),
      interrupt: (unique: bigint) => volume.absent!.interrupt(unique),
    }),
    readMapped: (nodeId, offset, address, bytes) => readMapped(volume, nodeId, offset, address, bytes),
  };
}

function wanted({ window }: ImageVolume): WantedInit {
  return {
    flags:
      InitFlag.DO_READDIRPLUS |
      InitFlag.READDIRPLUS_AUTO |
      InitFlag.CACHE_SYMLINKS |
      InitFlag.NO_OPEN_SUPPORT |
      InitFlag.NO_OPENDIR_SUPPORT |
      InitFlag.EXPORT_SUPPORT |
      InitFlag.POSIX_ACL,
    flags2: window === undefined ? 0 : InitFlag2.HAS_INODE_DAX,
  };
}
