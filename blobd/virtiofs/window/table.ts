import { RANGE_BYTES } from "../../fuse/index.ts";
import { Mutex, PAGE_SIZE, viewMemory } from "../../sys/index.ts";

/** Pages of a range: what QEMU maps at least is one of them. */
export const RANGE_PAGES = RANGE_BYTES / PAGE_SIZE;
/** Largest window, in bytes: 32,768 ranges. Linux keeps 64 bytes of memory a page of it: 2 GiB already. */
export const MAX_WINDOW_BYTES = 2 ** 36;

/** In place of a descriptor. */
export const COMPOSITE = -2;

/** Buckets of the counter by node. */
const BUCKETS = 4096;
/** Words of a range's bitmap of piece starts. */
const BITMAP_WORDS = RANGE_PAGES / 32;

/**
 * What is mapped where, in memory that all threads of a device share and that a process started after a crash finds again.
 *
 * ```
 *  window      │ range 0            │ range 1            │ …           2 MiB each
 *  a range     │ piece │ piece │pc│ nothing ···········│               pieces of whole pages, without gaps from the start
 *                ▲       ▲       ▲  ▲
 *                └ bits of pieces┘  └ pages
 * ```
 * A piece is what one map message mapped, and can be unmapped only as a whole. A file is mapped as far as it reaches;
 * when it grows another piece is put behind. By an alias (see alias/) a range is one piece, or nothing.
 */
export class WindowTable {
  readonly ranges: number;
  readonly mutex: Mutex;
  /** By range: the file's node, 0 for a free range. */
  readonly node: Float64Array;
  /** By range: where in the file it starts, in bytes. */
  readonly fileOffset: Float64Array;
  /**
   * By range: the window's own descriptor of the file; -1 when it went with the process that had opened it; COMPOSITE for a
   * range that is made of several files, of which none is kept open.
   */
  readonly fd: Int32Array;
  /** By range: 1 when it is mapped by an alias, as a whole wherever the file ends. */
  readonly whole: Uint8Array;
  /** By range: pages that are mapped, from its start. */
  readonly pages: Uint16Array;
  /** By range: pages that are to be mapped, when no one is at it. */
  readonly wanted: Uint16Array;
  /**
   * By range: what is being done to it, written before and struck out after, so that it can be told later how far it came.
   * A piece that is mapped goes from page `changeFrom` to before `changeTo`; one that is unmapped has them the other way
   * round; equal when there is none.
   */
  readonly changeFrom: Uint16Array;
  readonly changeTo: Uint16Array;
  readonly #flags: Int32Array;
  readonly #pieces: Uint32Array;
  readonly #used: Int32Array;

  /** @param address of `WindowTable.bytes(windowBytes)` bytes, zeroes at first, a multiple of 8 */
  constructor(address: number, windowBytes: number) {
    this.ranges = rangesOf(windowBytes);
    const memory = viewMemory(address, WindowTable.bytes(windowBytes));
    this.mutex = new Mutex(address);
    this.#flags = new Int32Array(memory, 4, 1);
    let at = 8;
    const take = (bytes: number) => {
      at += bytes;
      return at - bytes;
    };
    this.node = new Float64Array(memory, take(this.ranges * 8), this.ranges);
    this.fileOffset = new Float64Array(memory, take(this.ranges * 8), this.ranges);
    this.#used = new Int32Array(memory, take(BUCKETS * 4), BUCKETS);
    this.#pieces = new Uint32Array(memory, take(this.ranges * BITMAP_WORDS * 4), this.ranges * BITMAP_WORDS);
    this.fd = new Int32Array(memory, take(this.ranges * 4), this.ranges);
    this.pages = new Uint16Array(memory, take(this.ranges * 2), this.ranges);
    this.wanted = new Uint16Array(memory, take(this.ranges * 2), this.ranges);
    this.changeFrom = new Uint16Array(memory, take(this.ranges * 2), this.ranges);
    this.changeTo = new Uint16Array(memory, take(this.ranges * 2), this.ranges);
    this.whole = new Uint8Array(memory, take(this.ranges), this.ranges);
  }

  /** Memory that a window's table takes. */
  static bytes(windowBytes: number): number {
    return 8 + BUCKETS * 4 + rangesOf(windowBytes) * (8 + 8 + 4 * BITMAP_WORDS + 4 + 4 * 2 + 1);
  }

  /** After a process died: nobody is inside, and its descriptors are gone. */
  recover(): void {
    this.mutex.reset();
    for (let range = 0; range < this.ranges; range++) if (this.fd[range] !== COMPOSITE) this.fd[range] = -1;
    this.#used.fill(0);
    for (const node of this.node) if (node !== 0) this.#count(node, 1);
  }

  /** The VMM may have more mapped than is written here: all of that has to go first. */
  get isStale(): boolean {
    return this.#flags[0] !== 0;
  }
  set isStale(stale: boolean) {
    this.#flags[0] = stale ? 1 : 0;
  }

  /**
   * Whether the node may have ranges: to be asked without the mutex, which most requests need not take then. A thread that
   * maps a file counts it before it looks how long the file is, so that one that has made it longer sees the count, or is
   * seen.
   */
  mayHave(node: number): boolean {
    return Atomics.load(this.#used, node % BUCKETS) !== 0;
  }

  /** The node's first range from `from` on, -1 when there is none. */
  next(node: number, from: number): number {
    return this.node.indexOf(node, from);
  }

  /** Gives a free range to a file. */
  use(range: number, node: number, fd: number, fileOffset: number, isWhole: boolean): void {
    this.whole[range] = isWhole ? 1 : 0;
    this.fileOffset[range] = fileOffset;
    this.fd[range] = fd;
    this.pages[range] = 0;
    this.wanted[range] = 0;
    this.changeTo[range] = this.changeFrom[range]!;
    this.#pieces.fill(0, range * BITMAP_WORDS, (range + 1) * BITMAP_WORDS);
    this.node[range] = node;
    this.#count(node, 1);
  }

  /** Makes a range free of which nothing is mapped any more. @returns its descriptor */
  free(range: number): number {
    this.#count(this.node[range]!, -1);
    this.node[range] = 0;
    this.pages[range] = 0;
    return this.fd[range]!;
  }

  addPiece(range: number, from: number, to: number): void {
    this.#pieces[range * BITMAP_WORDS + (from >>> 5)]! |= 1 << (from & 31);
    this.pages[range] = to;
  }

  /** Takes off the range's last piece, which starts at page `from`. */
  removeLastPiece(range: number, from: number): void {
    this.#pieces[range * BITMAP_WORDS + (from >>> 5)]! &= ~(1 << (from & 31));
    this.pages[range] = from;
  }

  /** First page of the range's last piece. It has one. */
  lastPiece(range: number): number {
    for (let page = this.pages[range]! - 1; ; page--)
      if (page <= 0 || (this.#pieces[range * BITMAP_WORDS + (page >>> 5)]! & (1 << (page & 31))) !== 0) return page;
  }

  /** Pieces of all ranges: for statistics. */
  pieces(): number {
    let count = 0;
    for (const [index, bits] of this.#pieces.entries())
      if (this.node[Math.floor(index / BITMAP_WORDS)] !== 0)
        for (let word = bits; word !== 0; word &= word - 1) count++;
    return count;
  }

  #count(node: number, change: number): void {
    Atomics.add(this.#used, node % BUCKETS, change);
  }
}

/** @throws RangeError for a size that no window has */
function rangesOf(windowBytes: number): number {
  if (!(windowBytes >= RANGE_BYTES && windowBytes <= MAX_WINDOW_BYTES && windowBytes % RANGE_BYTES === 0))
    throw new RangeError(
      `a DAX window of ${windowBytes} bytes: expected a multiple of ${RANGE_BYTES}, up to ${MAX_WINDOW_BYTES}`,
    );
  return windowBytes / RANGE_BYTES;
}
