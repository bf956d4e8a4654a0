import { setTimeout as sleep } from "node:timers/promises";
import { check, lastError } from "./errno.ts";
import { libc } from "./libc.ts";

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;
const EAGAIN = 11;

export type LockKind = "shared" | "exclusive";

/** First and longest pause between two attempts of `flock`, in milliseconds. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/**
 * Tries once to lock an open file (flock(2): the lock belongs to the open file description, advisory, and goes with the
 * last close or the process).
 *
 * @returns whether the lock was taken; false when somebody holds one that excludes it.
 * @throws SysError for any other failure.
 */
export function tryFlock(fd: number, kind: LockKind): boolean {
  const operation = kind === "shared" ? LOCK_SH : LOCK_EX;
  if (libc().flock(fd, operation | LOCK_NB) === 0) return true;
  const error = lastError("flock", `fd ${fd}`);
  if (error.errno === EAGAIN) return false;
  throw error;
}

/**
 * Waits until an open file is locked.
 *
 * It tries again and again with growing pauses and does not wait inside flock(2): a call that waits would sit on one of
 * libuv's four pool threads, and four of them, held up by another process that in turn waits for us, would stop every
 * file operation and decompression that could have ended the wait.
 *
 * @throws SysError when the lock cannot be had at all; the signal's AbortError when it is aborted.
 */
export async function flock(fd: number, kind: LockKind, options: { signal?: AbortSignal } = {}): Promise<void> {
  options.signal?.throwIfAborted();
  for (let pauseMs = FIRST_PAUSE_MS; !tryFlock(fd, kind); pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS))
    await sleep(pauseMs, undefined, options);
}

/** Gives a lock back. */
export function unlockFlock(fd: number): void {
  check(libc().flock(fd, LOCK_UN), "flock", `fd ${fd}`);
}
