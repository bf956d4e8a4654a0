import { closeSync, constants, fchmodSync, fsync, ftruncateSync, openSync, readSync, write, writeSync } from "node:fs";
import { promisify } from "node:util";
import { errnoOf, StoreError, storeError } from "./errors.ts";

/**
 * The file behind a BlobWriter: written in whole blocks, past the page cache (O_DIRECT) where the file system lets us,
 * through it otherwise (tmpfs, some network and FUSE file systems answer EINVAL).
 *
 * O_DIRECT is worth this class: allocating page cache limits buffered writes to a tenth of the disk's speed, and the
 * pages would push out others although nobody reads a blob from here.
 *
 * Read-back goes through the page cache by a second descriptor: a duplicate's original is often read again and again
 * (`__init__.py`, licences), and its neighbours soon after. The two do not get in each other's way: a range is read only
 * once its write has completed and is never written again, and Linux drops cached pages of a range after a direct write
 * to it.
 */
export class BlobFile {
  readonly path: string;
  #fd: number;
  #readFd = -1;
  /** Descriptors replaced by the fallback, closed with the rest: a write may still be in flight on them. */
  readonly #retired: number[] = [];
  #direct: boolean;

  private constructor(path: string, fd: number, direct: boolean) {
    this.path = path;
    this.#fd = fd;
    this.#direct = direct;
  }

  /** Creates the file, which must not exist. @throws StoreError */
  static create(path: string, direct: boolean): BlobFile {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
    if (direct) {
      try {
        return new BlobFile(path, openSync(path, flags | constants.O_DIRECT, 0o600), true);
      } catch (error) {
        if (errnoOf(error) !== "EINVAL") throw storeError(error, path, "creating");
        // Some file systems have made the file by the time they refuse the flag, so O_EXCL is dropped below.
      }
    }
    try {
      const fd = openSync(path, direct ? flags & ~constants.O_EXCL : flags, 0o600);
      return new BlobFile(path, fd, false);
    } catch (error) {
      throw storeError(error, path, "creating");
    }
  }

  /** Whether writes go past the page cache. */
  get direct(): boolean {
    return this.#direct;
  }

  /**
   * Writes all of `bytes` at `position` on libuv's thread pool. For O_DIRECT the memory must be page-aligned, length and
   * position multiples of 4096. The bytes must not change until the promise settles.
   * @throws StoreError
   */
  write(bytes: Uint8Array, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let done = 0;
      const step = (): void => {
        const fd = this.#fd;
        write(fd, bytes, done, bytes.length - done, position + done, (error, written) => {
          try {
            if (error) this.#recover(error, fd, bytes.length - done);
            else done = this.#advance(done, written);
          } catch (failure) {
            reject(failure);
            return;
          }
          if (done === bytes.length) resolve();
          else step();
        });
      };
      step();
    });
  }

  /** The same as `write`, waiting. @throws StoreError */
  writeSync(bytes: Uint8Array, position: number): void {
    let done = 0;
    while (done < bytes.length) {
      const fd = this.#fd;
      try {
        done = this.#advance(done, writeSync(fd, bytes, done, bytes.length - done, position + done));
      } catch (error) {
        this.#recover(error, fd, bytes.length - done);
      }
    }
  }

  /** Fills `into` from `position`, waiting. @throws StoreError, also when the file ends before. */
  readSync(into: Uint8Array, position: number): void {
    try {
      if (this.#readFd < 0) this.#readFd = openSync(this.path, constants.O_RDONLY);
      for (let done = 0; done < into.length; ) {
        const got = readSync(this.#readFd, into, done, into.length - done, position + done);
        if (got === 0)
          throw new StoreError("ERR_STORE_CORRUPT", this.path, `reading ${this.path}: ends at ${position + done}`);
        done += got;
      }
    } catch (error) {
      throw storeError(error, this.path, "reading");
    }
  }

  /** Sets the final size, makes the file read-only and, if asked, waits until it is on the disk. @throws StoreError */
  async seal(sizeBytes: number, durable: boolean): Promise<void> {
    try {
      ftruncateSync(this.#fd, sizeBytes);
      fchmodSync(this.#fd, 0o444);
      if (durable) await fsyncOnPool(this.#fd);
    } catch (error) {
      throw storeError(error, this.path, "sealing");
    }
  }

  /** Closes all descriptors. Call it only when no write is in flight. */
  close(): void {
    for (const fd of [this.#fd, this.#readFd, ...this.#retired]) if (fd >= 0) closeSync(fd);
    this.#fd = -1;
    this.#readFd = -1;
    this.#retired.length = 0;
  }

  /** How far we are after a write, which may have been short; the next one then goes on or says why it cannot. */
  #advance(done: number, written: number): number {
    if (written === 0) throw new StoreError("ERR_STORE_IO", this.path, `writing ${this.path}: wrote nothing`);
    return done + written;
  }

  /**
   * Turns to buffered writes after EINVAL on an O_DIRECT descriptor: the file system refuses it only now, or a short
   * write has left us off a block boundary. Any other error is the caller's.
   */
  #recover(error: unknown, fd: number, neededBytes: number): void {
    if (errnoOf(error) !== "EINVAL" || (fd === this.#fd && !this.#direct))
      throw storeError(error, this.path, "writing", neededBytes);
    // Another write in flight may have done this already: then this one is simply tried again.
    if (fd !== this.#fd) return;
    this.#fd = openSync(this.path, constants.O_RDWR);
    this.#retired.push(fd);
    this.#direct = false;
  }
}

const fsyncOnPool = promisify(fsync);
