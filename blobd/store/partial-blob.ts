import { closeSync, constants, fdatasync, openSync, read, write } from "node:fs";
import { promisify } from "node:util";
import type { ChunkIndex } from "../../formats/chunk-index/index.ts";
import { addressOf, allocAligned, type NativeBuffer, PAGE_SIZE, sha256Of } from "../sys/index.ts";
import type { ChunkMap } from "./chunk-map.ts";
import { errnoOf, StoreError, storeError } from "./errors.ts";
import type { SharedBlob } from "./shared-blob.ts";

/**
 * A blob that is filled chunk by chunk, in any order, by any number of threads and processes: a sparse file of its final
 * size and a map of what is there. Made by `Partials.open`.
 *
 * To fill a chunk: `tryClaim`, look at `isPresent` again, fetch and verify, `put`, `release`.
 */
export class PartialBlob {
  /** The blob's name as long as it is partial, 64 hex digits: see Partials. */
  readonly key: string;
  readonly index: ChunkIndex;
  /** Where the file is: of its final size, with holes that are not read as zeros but not there. */
  readonly path: string;
  readonly #map: ChunkMap;
  readonly #fd: number;
  #isClosed = false;
  /** Held here, for threads that are given its address. */
  #sharedOffsets: NativeBuffer | undefined;
  /** Past the page cache; -1 where the file system refuses that. */
  #directFd: number;
  #directReadFd: number;

  constructor(key: string, index: ChunkIndex, path: string, map: ChunkMap) {
    this.key = key;
    this.index = index;
    this.path = path;
    this.#map = map;
    try {
      this.#fd = openSync(path, constants.O_RDWR);
    } catch (error) {
      throw storeError(error, path, "opening");
    }
    this.#directFd = openDirect(path, constants.O_WRONLY);
    this.#directReadFd = openDirect(path, constants.O_RDONLY);
  }

  /** Of the content, in bytes. */
  get size(): number {
    return this.index.size;
  }
  /** sha256 of the content as the image promises it. */
  get contentHex(): string {
    return this.#map.subject.contentHex;
  }
  /** The file, for reading chunks that are there. It is closed with the blob. */
  get fd(): number {
    return this.#fd;
  }

  isPresent(chunk: number): boolean {
    return this.#map.isPresent(chunk);
  }
  countPresent(): number {
    return this.#map.countPresent();
  }
  /** Whether all of it is there. */
  get isWhole(): boolean {
    return this.#map.countPresent() === this.index.count;
  }

  /** Claims the right to fill a chunk: nobody else, in any process, has it until `release`, or until we die. */
  tryClaim(chunk: number): boolean {
    return this.#map.tryClaim(chunk);
  }
  release(chunk: number): void {
    this.#map.release(chunk);
  }

  /**
   * Writes a chunk's verified content, and then notes that it is there. Memory that starts on a page is written past the page
   * cache: whoever asked for the chunk has its bytes, and the VMM's mapping keeps its own.
   * @param content all of the chunk; it must not change until the promise settles
   * @throws StoreError ERR_STORE_FULL and others; the chunk is absent then
   */
  async put(chunk: number, content: Uint8Array): Promise<void> {
    if (content.length !== this.index.bytes(chunk))
      throw new RangeError(`put: ${content.length} bytes, chunk ${chunk} has ${this.index.bytes(chunk)}`);
    const [digest] = await Promise.all([sha256Of(content), this.#write(content, this.index.offset(chunk))]);
    this.#map.setPresent(chunk, digest);
  }

  /** Reads from chunks that are there; the caller has seen to that. @throws StoreError */
  async read(into: Uint8Array, position: number): Promise<void> {
    try {
      for (let done = 0; done < into.length; ) {
        const { bytesRead } = await readOnPool(this.#fd, into, done, into.length - done, position + done);
        if (bytesRead === 0)
          throw new StoreError("ERR_STORE_CORRUPT", this.path, `${this.path}: ends at ${position + done}`);
        done += bytesRead;
      }
    } catch (error) {
      throw storeError(error, this.path, "reading");
    }
  }

  /** The blob for other threads of this process, for as long as it is open here. */
  get shared(): SharedBlob {
    return {
      size: this.size,
      chunks: this.index.count,
      fd: this.#fd,
      directFd: this.#directReadFd,
      statesAddress: this.#map.statesAddress,
      offsetsAddress: this.#offsets().address,
    };
  }

  /**
   * Compares every chunk that is there with its digest, and takes those back that are damaged. Only for the one user there is.
   * @returns how many were damaged
   * @throws StoreError
   */
  async verify(): Promise<number> {
    let damaged = 0;
    let memory: Uint8Array = new Uint8Array(0);
    for (let chunk = 0; chunk < this.index.count; chunk++) {
      if (!this.isPresent(chunk)) continue;
      const bytes = this.index.bytes(chunk);
      if (memory.length < bytes) memory = allocAligned(bytes).bytes;
      const content = memory.subarray(0, bytes);
      await this.read(content, this.index.offset(chunk));
      if (this.#map.digest(chunk).equals(await sha256Of(content))) continue;
      this.#map.setAbsent(chunk);
      damaged++;
    }
    this.#map.believe();
    return damaged;
  }

  /** Whether the machine has started anew since the map was last believed: then `verify` before use. */
  get isFromBefore(): boolean {
    return this.#map.isFromBefore;
  }
  /** Whether all of it was there once and had another digest than the image promises. It never gets a name of its own then. */
  get isMismatch(): boolean {
    return this.#map.isMismatch;
  }
  setMismatch(): void {
    this.#map.setMismatch();
  }

  /** Waits until everything is on the disk. @throws StoreError */
  async sync(): Promise<void> {
    try {
      await syncOnPool(this.#fd);
    } catch (error) {
      throw storeError(error, this.path, "syncing");
    }
  }

  /** Gives the blob up, and all claims. Nothing of it may be running. Again is fine. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#map.close();
    closeSync(this.#fd);
    if (this.#directFd >= 0) closeSync(this.#directFd);
    if (this.#directReadFd >= 0) closeSync(this.#directReadFd);
    this.#directFd = -1;
    this.#directReadFd = -1;
  }

  #offsets(): NativeBuffer {
    if (this.#sharedOffsets === undefined) {
      const memory = allocAligned((this.index.count + 1) * 8);
      for (let chunk = 0; chunk <= this.index.count; chunk++)
        memory.bytes.writeDoubleLE(chunk === this.index.count ? this.size : this.index.offset(chunk), chunk * 8);
      this.#sharedOffsets = memory;
    }
    return this.#sharedOffsets;
  }

  async #write(content: Uint8Array, position: number): Promise<void> {
    const isAligned = (content.length | position) % PAGE_SIZE === 0 && addressOf(content) % PAGE_SIZE === 0;
    try {
      if (isAligned && this.#directFd >= 0) {
        try {
          await writeAll(this.#directFd, content, position, this.path);
          return;
        } catch (error) {
          // Refused only now, or cut short off a block's boundary: again, through the page cache.
          if (errnoOf(error) !== "EINVAL") throw error;
        }
      }
      await writeAll(this.#fd, content, position, this.path);
    } catch (error) {
      throw storeError(error, this.path, "writing", content.length);
    }
  }
}

async function writeAll(fd: number, content: Uint8Array, position: number, path: string): Promise<void> {
  for (let done = 0; done < content.length; ) {
    const { bytesWritten } = await writeOnPool(fd, content, done, content.length - done, position + done);
    if (bytesWritten === 0) throw new StoreError("ERR_STORE_IO", path, `writing ${path}: wrote nothing`);
    done += bytesWritten;
  }
}

function openDirect(path: string, access: number): number {
  try {
    return openSync(path, access | constants.O_DIRECT);
  } catch {
    return -1;
  }
}

const readOnPool = promisify(read);
const writeOnPool = promisify(write);
const syncOnPool = promisify(fdatasync);
