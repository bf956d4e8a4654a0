/** Constants and forms of Linux's system call interface that guest programs are made of. */

/** Flags of mount(2). Linux include/uapi/linux/mount.h. */
export const MountFlag = {
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  MOVE: 8192,
  RELATIME: 1 << 21,
} as const;

/** Errors a failed exec tells apart. Linux include/uapi/asm-generic/errno-base.h. */
export const Errno = { ENOENT: 2, E2BIG: 7, ENOEXEC: 8, EACCES: 13, ENOTDIR: 20 } as const;

/** Text as a C string. @throws RangeError when it holds a NUL, which no C string can. */
export function cString(text: string): Uint8Array {
  if (text.includes("\0")) throw new RangeError(`found a NUL in ${JSON.stringify(text)}`);
  return Buffer.from(`${text}\0`);
}
