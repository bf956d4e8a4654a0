import { closeSync } from "node:fs";
import { Mutex, mapShared, memfd, unmapShared, viewMemory } from "../../sys/index.ts";
import type { ExportShared } from "../exports/index.ts";

/** Mounts at a time and 1: number 0 is the pseudo root itself. */
export const MOUNTS = 256;
/** Node IDs of an export are below this; a mount's number is above. */
export const NODE_UNIT = 2 ** 43;

/** Longest description of a mount as JSON text, in bytes: an image's devices are in it. */
const TEXT_BYTES = 1 << 20;
/** 32-bit words of the head: mutex, version. Then those of each mount. */
const HEAD_WORDS = 16;
const VERSION = 1;
const MOUNT_WORDS = 8;
const STATE = 0;
const GENERATION = 1;
const PINS = 2;
const KNOWN = 3;
const TEXT_LENGTH = 4;

const FREE = 0;
const LIVE = 1;
/** Being taken away: nobody new may use it, the last who does leaves. */
const DYING = 2;

const TEXTS_AT = (HEAD_WORDS + MOUNTS * MOUNT_WORDS) * 4;
const BYTES = TEXTS_AT + MOUNTS * TEXT_BYTES;

/** Where the table lies, in the process. */
export interface TableMemory {
  readonly fd: number;
  readonly address: number;
}

/** What a thread needs to serve a mount. */
export interface MountText {
  readonly path: string;
  readonly of: ExportShared;
}

/**
 * The mounts of a pseudo root, in memory that threads share: the main thread adds and removes them, the others find them at
 * the next request. A place is used again when the guest knows no node of the mount that was there.
 */
export class MountTable {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #mutex: Mutex;

  constructor({ address }: TableMemory) {
    this.#words = new Int32Array(viewMemory(address, TEXTS_AT));
    this.#bytes = new Uint8Array(viewMemory(address, BYTES));
    this.#mutex = new Mutex(address);
  }

  static create(): TableMemory {
    const fd = memfd("blobd-mounts", BYTES);
    return { fd, address: mapShared(fd, 0, BYTES) };
  }
  static free({ fd, address }: TableMemory): void {
    unmapShared(address, BYTES);
    closeSync(fd);
  }

  /** Changes with every mount that comes or goes. */
  get version(): number {
    return Atomics.load(this.#words, VERSION);
  }
  isLive(mount: number): boolean {
    return Atomics.load(this.#words, at(mount) + STATE) === LIVE;
  }
  generation(mount: number): number {
    return Atomics.load(this.#words, at(mount) + GENERATION);
  }

  /** Enters a mount: it stays until `leave`. @returns false when there is none of that number */
  enter(mount: number): boolean {
    Atomics.add(this.#words, at(mount) + PINS, 1);
    if (this.isLive(mount)) return true;
    this.leave(mount);
    return false;
  }
  leave(mount: number): void {
    Atomics.sub(this.#words, at(mount) + PINS, 1);
  }
  isUsed(mount: number): boolean {
    return Atomics.load(this.#words, at(mount) + PINS) !== 0;
  }

  /** Counts nodes that the kernel was told, or has forgotten. */
  addKnown(mount: number, count: number): void {
    Atomics.add(this.#words, at(mount) + KNOWN, count | 0);
  }
  /** The kernel knows no node any more. */
  forgetAll(): void {
    for (let mount = 0; mount < MOUNTS; mount++) Atomics.store(this.#words, at(mount) + KNOWN, 0);
  }

  /** @returns the mount's number, or -1 when all are taken */
  add(text: MountText): number {
    const bytes = Buffer.from(JSON.stringify(text));
    if (bytes.length > TEXT_BYTES) throw new RangeError(`mount ${text.path}: a description of ${bytes.length} bytes`);
    for (let mount = 1; mount < MOUNTS; mount++) {
      const isFree = Atomics.load(this.#words, at(mount) + STATE) === FREE;
      if (!isFree || Atomics.load(this.#words, at(mount) + KNOWN) > 0 || this.isUsed(mount)) continue;
      this.#mutex.lock();
      this.#bytes.set(bytes, TEXTS_AT + mount * TEXT_BYTES);
      this.#words[at(mount) + TEXT_LENGTH] = bytes.length;
      Atomics.store(this.#words, at(mount) + KNOWN, 0);
      Atomics.add(this.#words, at(mount) + GENERATION, 1);
      Atomics.store(this.#words, at(mount) + STATE, LIVE);
      Atomics.add(this.#words, VERSION, 1);
      this.#mutex.unlock();
      return mount;
    }
    return -1;
  }
  /** From here on nobody enters it. */
  retire(mount: number): void {
    this.#mutex.lock();
    Atomics.store(this.#words, at(mount) + STATE, DYING);
    Atomics.add(this.#words, VERSION, 1);
    this.#mutex.unlock();
  }
  /** Its place is free, as soon as the guest knows nothing of it. */
  free(mount: number): void {
    Atomics.store(this.#words, at(mount) + STATE, FREE);
  }

  /** A live mount's description. */
  text(mount: number): MountText | null {
    this.#mutex.lock();
    const start = TEXTS_AT + mount * TEXT_BYTES;
    const json = this.isLive(mount)
      ? Buffer.from(this.#bytes.subarray(start, start + this.#words[at(mount) + TEXT_LENGTH]!)).toString()
      : null;
    this.#mutex.unlock();
    return json === null ? null : (JSON.parse(json) as MountText);
  }
}

function at(mount: number): number {
  return HEAD_WORDS + mount * MOUNT_WORDS;
}
