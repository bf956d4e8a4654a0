import { check } from "./errno.ts";
import { cString, libc, type Path } from "./libc.ts";

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

/** glibc's makedev(3): the numbers of a device as one. Major below 2^32, minor below 2^32; the kernel takes 12 and 20 bits. */
export function makeDevice(major: number, minor: number): number {
  return (
    (minor & 0xff) +
    (major & 0xfff) * 2 ** 8 +
    Math.floor(minor / 2 ** 8) * 2 ** 20 +
    Math.floor(major / 2 ** 12) * 2 ** 44
  );
}

/**
 * Creates a device, a fifo, a socket or an empty file.
 * @param mode file type and permission bits; the umask applies.
 * @throws SysError when the kernel refuses.
 */
export function mknod(
  path: Path,
  mode: number,
  device: { major: number; minor: number } = { major: 0, minor: 0 },
): void {
  const file = cString(path, "mknod");
  check(libc().mknod(file, mode, makeDevice(device.major, device.minor)), "mknod", file);
}

/** A point in time; `seconds` is negative before 1970, `nanos` (0 to 999,999,999) always counts forwards. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanos: number;
}

/**
 * Sets a file's access and modification time to the nanosecond; links are not followed.
 * @throws SysError when the kernel refuses.
 */
export function setTimes(path: Path, atime: Timestamp, mtime: Timestamp): void {
  const file = cString(path, "utimensat");
  const times = new BigInt64Array([atime.seconds, atime.nanos, mtime.seconds, mtime.nanos].map(BigInt));
  const bytes = new Uint8Array(times.buffer);
  check(libc().utimensat(AT_FDCWD, file, bytes, AT_SYMLINK_NOFOLLOW), "utimensat", file);
}
