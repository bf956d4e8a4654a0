import { closeSync, openSync } from "node:fs";
import { lastError, SysError } from "./errno.ts";
import { ipcCalls } from "./ipc-calls.ts";
import { koffi } from "./koffi.ts";
import { cString, libc } from "./libc.ts";

const DEVICE = "/dev/fuse";
/** `_IOR(229, 0, uint32_t)`. Linux include/uapi/linux/fuse.h. */
const FUSE_DEV_IOC_CLONE = 0x8004e500;

/** Opens /dev/fuse for a new mount: its number is the mount's option `fd`. */
export function openFuseDevice(): number {
  try {
    return openSync(DEVICE, "r+");
  } catch (error) {
    const { code = "EIO", errno = -5 } = error as NodeJS.ErrnoException;
    throw new SysError("open", code, -errno, DEVICE);
  }
}

/**
 * One more descriptor for the mount of `fd`, with a queue of its own for requests that were read through it: replies are
 * found faster when each thread has one.
 */
export function cloneFuseDevice(fd: number): number {
  const clone = openFuseDevice();
  const number = Buffer.alloc(4);
  number.writeUInt32LE(fd);
  if (libc().ioctlBytes(clone, FUSE_DEV_IOC_CLONE, number) === 0) return clone;
  const error = lastError("ioctl FUSE_DEV_IOC_CLONE", DEVICE);
  closeSync(clone);
  throw error;
}

/** `_IOW(229, 1, struct fuse_backing_map)` and `_IOW(229, 2, uint32_t)`. Linux include/uapi/linux/fuse.h, from 6.9. */
const FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501;
const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502;

/**
 * Makes a file known to a mount, so that opened files can be passed through to it.
 * @param deviceFd of the mount
 * @returns its number there, or a negative error number
 */
export function openBacking(deviceFd: number, fd: number): number {
  const map = Buffer.alloc(16);
  map.writeInt32LE(fd);
  const id = libc().ioctlBytes(deviceFd, FUSE_DEV_IOC_BACKING_OPEN, map);
  return id < 0 ? -koffi().errno() : id;
}

/** The number is not used any more for files to be opened; those that are open are not touched. */
export function closeBacking(deviceFd: number, id: number): void {
  const number = Buffer.alloc(4);
  number.writeUInt32LE(id);
  libc().ioctlBytes(deviceFd, FUSE_DEV_IOC_BACKING_CLOSE, number);
}

/** read(2) to an address: bytes read or a negative error number. */
export function readTo(fd: number, address: number, bytes: number): number {
  const got = ipcCalls().read(fd, address, bytes);
  return got < 0 ? -koffi().errno() : got;
}

/** write(2) from an address: bytes written or a negative error number. */
export function writeFrom(fd: number, address: number, bytes: number): number {
  const put = ipcCalls().write(fd, address, bytes);
  return put < 0 ? -koffi().errno() : put;
}

/** umount2(2) flags. */
export const UmountFlag = { FORCE: 1, DETACH: 2, NOFOLLOW: 8 } as const;

/** umount2(2) on libuv's thread pool: it can wait for the file system's server. */
export function unmountAsync(target: string, flags: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const path = cString(target, "umount2");
    libc().umount2.async(path, flags, (error, result) => {
      if (error !== null) reject(error);
      else if (result === 0) resolve();
      else reject(lastError("umount2", target));
    });
  });
}
