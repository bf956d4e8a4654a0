import { readlinkSync } from "node:fs";
import { check } from "./errno.ts";
import { ipcCalls } from "./ipc-calls.ts";

// fcntl.h
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/** Another descriptor of the same open file, closed on exec. */
export function duplicate(fd: number): number {
  return check(ipcCalls().fcntl(fd, F_DUPFD_CLOEXEC, 3), "fcntl", `fd ${fd}`);
}

/** Makes `target` another descriptor of what `fd` is one of, at once: whoever uses `target` sees the old one or the new. */
export function replaceDescriptor(target: number, fd: number): void {
  check(ipcCalls().dup3(fd, target, O_CLOEXEC), "dup3", `fd ${fd}`);
}

/** Whether calls on the open file, whoever makes them, wait or fail with EAGAIN. */
export function setNonBlocking(fd: number, nonBlocking: boolean): void {
  check(ipcCalls().fcntl(fd, F_SETFL, nonBlocking ? O_NONBLOCK : 0), "fcntl", `fd ${fd}`);
}

/** Whether `fd` is an eventfd; true also where that cannot be found out, for want of /proc. */
export function isEventFd(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[eventfd]";
  } catch {
    return true;
  }
}
