import { closeSync, fstatSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { FormatError, struct } from "../../formats/bytes/index.ts";
import { mapShared, tryFlock, tryLockRange, unlockRange, unmapShared, viewMemory } from "../sys/index.ts";
import { StoreError, storeError } from "./errors.ts";

/**
 * Which chunks of a blob are there: a file that all processes which read or fill the blob have mapped.
 *
 *     0                4096                          4096 + chunks, rounded up to 32
 *     │ header, rest 0 │ state of each chunk, a byte │ sha256 of each chunk's content, 32 bytes │
 *
 * Invariants
 * - A chunk's state turns to PRESENT when its content and its digest have been written, in this order, and never back while
 *   anybody has the map open. A reader that sees PRESENT finds the content, since the kernel keeps what a killed process wrote.
 * - A power failure can lose any of the three: `bootId` tells that the machine has started anew since, and all chunks are
 *   compared with their digests before the map is believed again. That spares a sync for each chunk.
 * - Who fills a chunk holds a lock on the byte LOCKS_START + chunk; it goes with its process.
 * - Who uses the blob holds the file's flock shared; who removes it, exclusive.
 */
const MapHeader = struct("partial_map_header", 112, {
  magic: "bytes8",
  version: "u32",
  chunks: "u32",
  size: "u53",
  storedEnd: "u53",
  contentDigest: "bytes32",
  bootId: "bytes36",
  /** 1: the content was taken together and has another digest than was promised. */
  isMismatch: "u32",
  reserved: "u64",
});

const MAGIC = Buffer.from("EROFSMAP");
const VERSION = 1;
const STATES_START = 4096;
const DIGEST_BYTES = 32;
const LOCKS_START = 2 ** 40;
const ABSENT = 0;
const PRESENT = 1;

/** What a map is made for. */
export interface MapSubject {
  readonly chunks: number;
  /** Of the content, in bytes. */
  readonly size: number;
  /** Where the chunks' stored bytes end in their blob: needed to read the chunk index again. */
  readonly storedEnd: number;
  /** sha256 of the content as the image promises it. */
  readonly contentHex: string;
}

/** An open map. One for each opening of a blob, in each thread: the locks are between them. */
export class ChunkMap {
  readonly path: string;
  readonly subject: MapSubject;
  readonly #fd: number;
  readonly #address: number;
  readonly #bytes: number;
  #states: Uint8Array;
  readonly #one = new Uint8Array(1);
  #isOpen = true;

  private constructor(path: string, fd: number, subject: MapSubject) {
    this.path = path;
    this.subject = subject;
    this.#fd = fd;
    this.#bytes = fileBytes(subject.chunks);
    this.#address = mapShared(fd, 0, this.#bytes, false);
    this.#states = new Uint8Array(viewMemory(this.#address + STATES_START, subject.chunks));
  }

  /** The bytes of a map of a blob of which nothing is there. */
  static empty(subject: MapSubject): Buffer {
    const bytes = Buffer.alloc(fileBytes(subject.chunks));
    const header = MapHeader.view(bytes);
    header.magic = MAGIC;
    header.version = VERSION;
    header.chunks = subject.chunks;
    header.size = subject.size;
    header.storedEnd = subject.storedEnd;
    header.contentDigest = Buffer.from(subject.contentHex, "hex");
    header.bootId = currentBootId();
    return bytes;
  }

  /** Opens a map that is there, as one of its users. @throws StoreError ERR_STORE_CORRUPT when it is none */
  static open(path: string): ChunkMap {
    let fd = -1;
    try {
      fd = openSync(path, "r+");
      const subject = readHeader(fd, path);
      if (!tryFlock(fd, "shared")) throw new StoreError("ERR_STORE_BUSY", path, `${path}: the blob is being removed`);
      return new ChunkMap(path, fd, subject);
    } catch (error) {
      if (fd >= 0) closeSync(fd);
      throw storeError(error, path, "opening");
    }
  }

  /** Of the states, a byte a chunk, for other threads of this process while the map is open. */
  get statesAddress(): number {
    return this.#address + STATES_START;
  }

  isPresent(chunk: number): boolean {
    return Atomics.load(this.#states, chunk) === PRESENT;
  }

  /** How many chunks are there. */
  countPresent(): number {
    let count = 0;
    for (let chunk = 0; chunk < this.#states.length; chunk++) count += this.#states[chunk]!;
    return count;
  }

  /** Notes that a chunk's content is in place. @throws StoreError */
  setPresent(chunk: number, digest: Uint8Array): void {
    this.#write(digest, this.#digestAt(chunk));
    this.#one[0] = PRESENT;
    this.#write(this.#one, STATES_START + chunk);
  }

  /** Takes a chunk back whose content is no good. Only for the one user there is. @throws StoreError */
  setAbsent(chunk: number): void {
    this.#one[0] = ABSENT;
    this.#write(this.#one, STATES_START + chunk);
  }

  /** sha256 of a present chunk's content. @throws StoreError */
  digest(chunk: number): Buffer {
    const digest = Buffer.alloc(DIGEST_BYTES);
    try {
      readSync(this.#fd, digest, 0, DIGEST_BYTES, this.#digestAt(chunk));
    } catch (error) {
      throw storeError(error, this.path, "reading");
    }
    return digest;
  }

  /** Whether the machine has started anew since the map was last believed. */
  get isFromBefore(): boolean {
    return !this.#header().bootId.every((byte, i) => byte === currentBootId()[i]);
  }

  /** The chunks have been compared with their digests since the machine started. */
  believe(): void {
    this.#write(currentBootId(), MapHeader.at.bootId);
  }

  get isMismatch(): boolean {
    return this.#header().isMismatch !== 0;
  }

  setMismatch(): void {
    this.#one[0] = 1;
    this.#write(this.#one, MapHeader.at.isMismatch);
  }

  /** Claims the right to fill a chunk; false when another opening has it. Not to be called again before `release`. */
  tryClaim(chunk: number): boolean {
    return tryLockRange(this.#fd, LOCKS_START + chunk, 1);
  }

  release(chunk: number): void {
    if (this.#isOpen) unlockRange(this.#fd, LOCKS_START + chunk, 1);
  }

  /** Gives up all claims and the map's use. Again is fine. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    // A look at it after this is an error, not a look at memory that is not there.
    this.#states = new Uint8Array(0);
    unmapShared(this.#address, this.#bytes);
    closeSync(this.#fd);
  }

  #header() {
    const bytes = Buffer.alloc(MapHeader.size);
    readSync(this.#fd, bytes, 0, bytes.length, 0);
    return MapHeader.view(bytes);
  }

  #digestAt(chunk: number): number {
    return digestsStart(this.subject.chunks) + chunk * DIGEST_BYTES;
  }

  // Not through the mapping: on a full disk that would be a SIGBUS instead of an error.
  #write(bytes: Uint8Array, at: number): void {
    try {
      writeSync(this.#fd, bytes, 0, bytes.length, at);
    } catch (error) {
      throw storeError(error, this.path, "writing", bytes.length);
    }
  }
}

function readHeader(fd: number, path: string): MapSubject {
  const bytes = Buffer.alloc(MapHeader.size);
  const got = readSync(fd, bytes, 0, bytes.length, 0);
  try {
    const header = MapHeader.view(bytes.subarray(0, got));
    const { chunks, size, storedEnd } = header;
    if (!MAGIC.equals(header.magic) || header.version !== VERSION || fstatSync(fd).size !== fileBytes(chunks))
      throw new FormatError("ERR_BAD_VALUE", "partial_map_header", 0, "is no map of this version, or is cut");
    return { chunks, size, storedEnd, contentHex: Buffer.from(header.contentDigest).toString("hex") };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new StoreError("ERR_STORE_CORRUPT", path, `${path}: ${error.message}`, error);
  }
}

function digestsStart(chunks: number): number {
  return STATES_START + Math.ceil(chunks / DIGEST_BYTES) * DIGEST_BYTES;
}

function fileBytes(chunks: number): number {
  return digestsStart(chunks) + chunks * DIGEST_BYTES;
}

let bootId: Uint8Array | undefined;

/** Differs after each start of the machine. proc(5). */
function currentBootId(): Uint8Array {
  bootId ??= readFileSync("/proc/sys/kernel/random/boot_id").subarray(0, 36);
  return bootId;
}
