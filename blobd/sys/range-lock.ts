import { struct } from "../../formats/bytes/index.ts";
import { lastError } from "./errno.ts";
import { libc } from "./libc.ts";

/** `struct flock` of 64-bit Linux. fcntl.h. */
const Flock = struct("flock", 32, {
  type: "u16",
  whence: "u16",
  pad: "u32",
  start: "u53",
  len: "u53",
  pid: "i32",
  pad2: "u32",
});

const F_OFD_SETLK = 37;
const F_WRLCK = 1;
const F_UNLCK = 2;
const EAGAIN = 11;
const EACCES = 13;

const memory = Buffer.alloc(Flock.size);
const view = Flock.view(memory);

/**
 * Tries once to lock a range of bytes of an open file, which need not be there. The lock belongs to the open file
 * description (F_OFD_SETLK, fcntl(2)): other openings of the file are excluded, also in this process, and it goes with the
 * last close or the process.
 *
 * @param fd open for writing
 * @returns false when somebody else holds a lock in the range
 * @throws SysError for any other failure
 */
export function tryLockRange(fd: number, start: number, bytes: number): boolean {
  if (setLock(fd, F_WRLCK, start, bytes) === 0) return true;
  const error = lastError("fcntl", `fd ${fd}`);
  if (error.errno === EAGAIN || error.errno === EACCES) return false;
  throw error;
}

/** Gives a range back. @throws SysError */
export function unlockRange(fd: number, start: number, bytes: number): void {
  if (setLock(fd, F_UNLCK, start, bytes) !== 0) throw lastError("fcntl", `fd ${fd}`);
}

function setLock(fd: number, type: number, start: number, bytes: number): number {
  view.type = type;
  view.whence = 0;
  view.start = start;
  view.len = bytes;
  view.pid = 0;
  return libc().fcntlBytes(fd, F_OFD_SETLK, memory);
}
