import { closeSync, constants, fstatSync, openSync, statSync, unlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { flock, tryFlock } from "../sys/index.ts";
import { errnoOf, StoreError, storeError } from "./errors.ts";

/** First and longest pause between two tries for a lock, in milliseconds. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/**
 * The lock of a whole store, one descriptor a Store. Users hold it shared; who removes things holds it exclusive.
 * flock(2) belongs to the open file, so threads and handles of one process exclude each other as processes do.
 */
export class StoreLock {
  readonly #path: string;
  readonly #fd: number;

  /** Opens the lock file; nothing is locked yet. @throws StoreError */
  constructor(path: string) {
    this.#path = path;
    this.#fd = openLockFile(path);
  }

  /** Becomes a user, waiting for one who removes things to end. @throws StoreError */
  async share(): Promise<void> {
    try {
      await flock(this.#fd, "shared");
    } catch (error) {
      throw storeError(error, this.#path, "locking");
    }
  }

  /**
   * Becomes the only user if that is possible within `waitMs`. The step up is not atomic: our shared lock is given up
   * first (flock(2)), so somebody else can have removed things before we get it, or while we try in vain; in the end we
   * hold the shared lock again.
   * @throws StoreError
   */
  async exclude(waitMs: number): Promise<boolean> {
    const deadline = performance.now() + waitMs;
    try {
      for (
        let pauseMs = FIRST_PAUSE_MS;
        !tryFlock(this.#fd, "exclusive");
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
      ) {
        await flock(this.#fd, "shared");
        if (performance.now() >= deadline) return false;
        await sleep(pauseMs);
      }
      return true;
    } catch (error) {
      throw storeError(error, this.#path, "locking");
    }
  }

  /** Closes the file, and with that gives up the lock. */
  close(): void {
    closeSync(this.#fd);
  }
}

/**
 * Runs `work` while nobody else, in any process or thread, runs work under the same lock file, which exists only
 * meanwhile. `signal` ends the wait, not the work.
 * @throws StoreError; the reason of `signal`; whatever `work` throws
 */
export async function withFileLock<T>(path: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const fd = await lockFile(path, signal);
  try {
    return await work();
  } finally {
    // Removed while still locked: who waits on this inode sees that the name has gone, and starts over.
    unlinkSync(path);
    closeSync(fd);
  }
}

async function lockFile(path: string, signal?: AbortSignal): Promise<number> {
  for (;;) {
    const fd = openLockFile(path);
    try {
      await flock(fd, "exclusive", signal && { signal });
      if (isStill(fd, path)) return fd;
    } catch (error) {
      closeSync(fd);
      signal?.throwIfAborted();
      throw storeError(error, path, "locking");
    }
    closeSync(fd);
  }
}

/** Whether `path` still names the file that is open as `fd`. */
function isStill(fd: number, path: string): boolean {
  const named = statSync(path, { throwIfNoEntry: false });
  return named !== undefined && named.ino === fstatSync(fd).ino;
}

function openLockFile(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (error) {
    if (errnoOf(error) === "ENOENT")
      throw new StoreError("ERR_STORE_IO", path, `opening ${path}: its folder is gone`, error);
    throw storeError(error, path, "opening");
  }
}
