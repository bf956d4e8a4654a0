import { koffi } from "./koffi.ts";
import { cString, libc } from "./libc.ts";

/** Files read and written by address. What fails answers with the negative error number. */

const SEEK_END = 2;

/** pread(2) into memory: bytes read, 0 at the end of the file. */
export function preadAt(fd: number, address: number, bytes: number, offset: number): number {
  return orErrno(libc().pread(fd, address, bytes, offset));
}

/** pread(2) until all is there or the file ends: bytes read, fewer at its end. */
export function readFully(fd: number, address: number, bytes: number, offset: number): number {
  return fully(preadAt, fd, address, bytes, offset);
}

/** pwrite(2) until all is written: bytes written, fewer when the file takes no more. */
export function writeFully(fd: number, address: number, bytes: number, offset: number): number {
  return fully(pwriteAt, fd, address, bytes, offset);
}

function fully(move: typeof preadAt, fd: number, address: number, bytes: number, offset: number): number {
  let done = 0;
  while (done < bytes) {
    const moved = move(fd, address + done, bytes - done, offset + done);
    if (moved < 0) return moved;
    if (moved === 0) break;
    done += moved;
  }
  return done;
}

function pwriteAt(fd: number, address: number, bytes: number, offset: number): number {
  return orErrno(libc().pwrite(fd, address, bytes, offset));
}

/** openat(2): a descriptor, or a negative error number. */
export function openAt(folderFd: number, name: string, flags: number): number {
  return orErrno(libc().openat(folderFd, cString(name, "openat"), flags, 0));
}

/** Size of an open regular file. Moves the description's own offset. */
export function fileSize(fd: number): number {
  return orErrno(libc().lseek(fd, 0, SEEK_END));
}

function orErrno(result: number): number {
  return result < 0 ? -koffi().errno() : result;
}
