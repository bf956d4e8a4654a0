/** Test equipment: a VMM's window, which takes and refuses mappings as QEMU 11.1 does. */
import { fstatSync } from "node:fs";
import { PAGE_SIZE } from "../../sys/index.ts";
import type { ShmemMapper } from "../../vhost/index.ts";

const EIO = 5;
const EINTR = 4;

/** How a call fails that is to fail, and whether it was carried out nevertheless. */
export type Failure = "refused" | "interrupted before" | "interrupted after" | "killed before" | "killed after";

/** The process was killed in the midst of a call. */
export class Killed extends Error {}

interface Piece {
  readonly inode: number;
  readonly fdOffset: number;
  readonly bytes: number;
}

export class VmmWindow implements ShmemMapper {
  readonly #pieces = new Map<number, Piece>();
  readonly #bytes: number;
  /** What the next call does, if anything else than its work. */
  failure: Failure | null = null;
  calls = 0;

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  get pieces(): number {
    return this.#pieces.size;
  }

  map(fd: number, fdOffset: number, shmOffset: number, bytes: number): number {
    return this.#call(() => {
      const { size, ino } = fstatSync(fd);
      const there = this.#pieces.get(shmOffset);
      if (there?.inode === ino && there.fdOffset === fdOffset && there.bytes === bytes) return 0;
      const isPages = [fdOffset, shmOffset, bytes].every((value) => value % PAGE_SIZE === 0);
      const isInside = bytes > 0 && shmOffset >= 0 && shmOffset + bytes <= this.#bytes;
      const isInFile = fdOffset + bytes <= Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
      const overlaps = [...this.#pieces].some(([at, piece]) => at < shmOffset + bytes && shmOffset < at + piece.bytes);
      if (!isPages || !isInside || !isInFile || overlaps) return -EIO;
      this.#pieces.set(shmOffset, { inode: ino, fdOffset, bytes });
      return 0;
    });
  }

  unmap(shmOffset: number, bytes: number): number {
    return this.#call(() => {
      const piece = this.#pieces.get(shmOffset);
      if (piece !== undefined && piece.bytes !== bytes) return -EIO;
      this.#pieces.delete(shmOffset);
      return 0;
    });
  }

  unmapAll(): number {
    return this.#call(() => {
      this.#pieces.clear();
      return 0;
    });
  }

  transfer(): number {
    throw new Error("not in this dialect");
  }

  reset(): void {
    this.#pieces.clear();
  }

  /** What a guest finds at a page of the window: `inode:page of the file`, or null. */
  page(page: number): string | null {
    const at = page * PAGE_SIZE;
    for (const [start, { inode, fdOffset, bytes }] of this.#pieces)
      if (start <= at && at < start + bytes) return `${inode}:${(fdOffset + at - start) / PAGE_SIZE}`;
    return null;
  }

  #call(work: () => number): number {
    this.calls++;
    const { failure } = this;
    this.failure = null;
    if (failure === "refused") return -EIO;
    const result = failure?.endsWith("before") ? 0 : work();
    if (failure?.startsWith("killed")) throw new Killed();
    return failure === null ? result : -EINTR;
  }
}
