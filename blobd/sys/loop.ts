import { closeSync, openSync } from "node:fs";
import { struct } from "../../formats/bytes/index.ts";
import { lastError, SysError } from "./errno.ts";
import { isFuse } from "./is-fuse.ts";
import { libc } from "./libc.ts";

// Linux include/uapi/linux/loop.h.
const LOOP_SET_FD = 0x4c00;
const LOOP_CLR_FD = 0x4c01;
const LOOP_SET_STATUS64 = 0x4c04;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;

/** `struct loop_config` with the `struct loop_info64` inside it laid flat. Linux include/uapi/linux/loop.h. */
const LoopConfig = struct("loop_config", 304, {
  fd: "u32",
  blockSize: "u32",
  loDevice: "u53",
  loInode: "u53",
  loRdevice: "u53",
  loOffset: "u53",
  loSizelimit: "u53",
  loNumber: "u32",
  loEncryptType: "u32",
  loEncryptKeySize: "u32",
  loFlags: "u32",
  loFileName: "bytes64",
  loCryptName: "bytes64",
  loEncryptKey: "bytes32",
  loInit: "bytes16",
  reserved: "bytes64",
});

/** How often another process may snatch the free device we were just offered before we give up. */
const MAX_RACES = 64;

/** A file behind a loop device. */
export interface LoopDevice {
  /** `/dev/loopN`. */
  readonly path: string;
  /**
   * Keeps the device alive until something else, such as a mount, has it open: then close this, and the device goes away
   * when the last user does. Close it at once to undo the attachment.
   */
  readonly fd: number;
}

/**
 * Attaches a file to a free loop device, read-only and with automatic release. It reads the file around the page cache
 * (direct I/O) where the file system can, so that the same data is not cached twice.
 *
 * @throws SysError when the file cannot be opened, there are no loop devices, or we may not use them.
 */
export function attachLoop(file: string): LoopDevice {
  return withFile(file, (backing) => withFile("/dev/loop-control", (control) => attach(file, backing, control)));
}

function attach(file: string, backing: number, control: number): LoopDevice {
  for (let race = 0; race < MAX_RACES; race++) {
    const number = libc().ioctlInt(control, LOOP_CTL_GET_FREE, 0);
    if (number < 0) throw lastError("ioctl LOOP_CTL_GET_FREE", "/dev/loop-control");
    const path = `/dev/loop${number}`;
    const fd = openFile(path);
    const error = configureLoop(fd, backing, path);
    if (error === null) return { path, fd };
    closeSync(fd);
    if (error.code !== "EBUSY") throw error;
  }
  throw new SysError("ioctl LOOP_CONFIGURE", "EBUSY", 16, file, `lost the race for a device ${MAX_RACES} times`);
}

/**
 * Binds an open loop device to an open file, in one step, or in two on kernels before 5.8.
 * @returns the error, or null when it worked. EBUSY means that the device was taken meanwhile.
 */
export function configureLoop(
  fd: number,
  backing: number,
  path: string,
  mode: "any" | "two-step" = "any",
): SysError | null {
  const bytes = Buffer.alloc(LoopConfig.size);
  const config = LoopConfig.view(bytes);
  config.fd = backing;
  // Direct reads of a FUSE file that has to wait for its server fail in the loop driver of Linux 6.18 ("nonblocking retry
  // error", EIO): these files are read through the page cache.
  const isDirect = !isFuse(`/proc/self/fd/${backing}`);
  config.loFlags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | (isDirect ? LO_FLAGS_DIRECT_IO : 0);
  if (mode === "any") {
    if (libc().ioctlBytes(fd, LOOP_CONFIGURE, bytes) === 0) return null;
    const error = lastError("ioctl LOOP_CONFIGURE", path);
    if (error.code !== "EINVAL" && error.code !== "ENOTTY") return error;
  }
  if (libc().ioctlInt(fd, LOOP_SET_FD, backing) !== 0) return lastError("ioctl LOOP_SET_FD", path);
  // Read-only follows from the backing file's descriptor here; direct I/O has a call of its own that is not worth one.
  config.loFlags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
  if (libc().ioctlBytes(fd, LOOP_SET_STATUS64, bytes.subarray(LoopConfig.at.loDevice)) === 0) return null;
  const error = lastError("ioctl LOOP_SET_STATUS64", path);
  libc().ioctlInt(fd, LOOP_CLR_FD, 0);
  return error;
}

function withFile<T>(path: string, use: (fd: number) => T): T {
  const fd = openFile(path);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/** Opens a file for reading. Node's own error has the same fields as a SysError, so callers may treat both alike. */
export function openFile(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    const { code = "EIO", errno = -5 } = error as NodeJS.ErrnoException;
    throw new SysError("open", code, -errno, path);
  }
}
