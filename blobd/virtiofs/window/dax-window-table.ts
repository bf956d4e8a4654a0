import { closeSync } from "node:fs";
import { type DaxWindow, type MappingPieces, RANGE_BYTES } from "../../fuse/index.ts";
import { fileSize, PAGE_SIZE, readFully, viewMemory, writeFully } from "../../sys/index.ts";
import type { ShmemMapper } from "../../vhost/index.ts";
import { COMPOSITE, RANGE_PAGES, WindowTable } from "./table.ts";

const EINTR = 4;
const EIO = 5;
const EFAULT = 14;
const EINVAL = 22;
const EBADF = 9;
const ENODEV = 19;

/** What a window needs of the device around it. */
export interface WindowOptions {
  /** Memory of `WindowTable.bytes(bytes)` bytes that all threads of the device share. */
  readonly address: number;
  /** The window's size, a multiple of RANGE_BYTES. */
  readonly bytes: number;
  readonly mapper: ShmemMapper;
  /**
   * Opens a node's file for reading and writing once more, in a process that was started after another had died.
   * @returns a descriptor, or a negative error number
   */
  readonly reopen: (nodeId: number) => number;
  /**
   * Opens an alias of a file's descriptor: the same memory, but without an end. Null where there are none; a negative error
   * number for a file that can have none.
   */
  readonly alias: ((fd: number) => number) | null;
  /** Reads a node's range that was mapped in pieces to an address: FileSystem.readMapped. */
  readonly readMapped?: (nodeId: number, offset: number, address: number, bytes: number) => number;
}

/**
 * The DAX window, by files mapped into the VMM. One object a thread; they share the table.
 *
 * What a guest may see of a file is mapped at any time, in one of two ways:
 *
 *  - As a whole range, as soon as the file reaches into it: by an alias, where the file ends in it. Where it ends is no matter:
 *    Linux in the guest does not look behind. A range that a shorter file does not reach any more is unmapped.
 *  - Without one, up to the page in which the file ends: the VMM refuses what the file does not have. A file that grows gets
 *    another piece before the guest hears of the new size (`grow`); one that shrinks loses pages before it does (`shrink`).
 *    The VMM unmaps only what it mapped by one message, so the piece in which the cut lies goes for a moment, with what is kept
 *    of it. Linux from 6.15 (and stable kernels with "fuse: Fix dax truncate/punch_hole fault path") has removed its page
 *    table entries for all of the file by then, holds off page faults, and waited for direct I/O: no one can look.
 */
export class DaxWindowTable implements DaxWindow {
  readonly bytes: number;
  readonly table: WindowTable;
  readonly #mapper: ShmemMapper;
  readonly #reopen: WindowOptions["reopen"];
  readonly #alias: WindowOptions["alias"];
  readonly #readMapped: NonNullable<WindowOptions["readMapped"]>;

  constructor(options: WindowOptions) {
    this.bytes = options.bytes;
    this.table = new WindowTable(options.address, options.bytes);
    this.#mapper = options.mapper;
    this.#reopen = options.reopen;
    this.#alias = options.alias;
    this.#readMapped = options.readMapped ?? (() => -EBADF);
  }

  map(nodeId: number, fd: number, fileOffset: number, windowOffset: number): number {
    const range = this.#rangeAt(windowOffset);
    if (range < 0 || fileOffset % RANGE_BYTES !== 0 || nodeId <= 0) {
      closeSync(fd);
      return -EINVAL;
    }
    this.table.mutex.lock();
    try {
      return this.#mapRange(range, nodeId, fd, fileOffset);
    } finally {
      this.table.mutex.unlock();
    }
  }

  mapPieces(nodeId: number, pieces: MappingPieces, fileOffset: number, windowOffset: number): number {
    const range = this.#rangeAt(windowOffset);
    if (range < 0 || fileOffset % RANGE_BYTES !== 0 || nodeId <= 0 || pieces.pages > RANGE_PAGES) return -EINVAL;
    this.table.mutex.lock();
    try {
      return this.#mapPieces(range, nodeId, pieces, fileOffset);
    } finally {
      this.table.mutex.unlock();
    }
  }

  remove(windowOffset: number, bytes: number): number {
    const first = this.#rangeAt(windowOffset);
    if (first < 0 || bytes % RANGE_BYTES !== 0 || windowOffset + bytes > this.bytes) return -EINVAL;
    this.table.mutex.lock();
    try {
      let status = this.#clean();
      for (let range = first; status === 0 && range < first + bytes / RANGE_BYTES; range++)
        status = this.#release(range);
      return status;
    } finally {
      this.table.mutex.unlock();
    }
  }

  grow(nodeId: number, fileBytes: number): number {
    return this.#each(nodeId, (range, wanted) => Math.max(wanted, this.#pagesWithin(range, fileBytes)));
  }

  shrink(nodeId: number, fileBytes: number): number {
    return this.#each(nodeId, (range, wanted) => Math.min(wanted, this.#pagesWithin(range, fileBytes)));
  }

  removeAll(): void {
    const { table } = this;
    table.mutex.lock();
    try {
      table.isStale = true;
      this.#freeAll();
      this.#clean();
    } finally {
      table.mutex.unlock();
    }
  }

  /** The VMM has dropped all mappings by itself: at a reset of the device, or because it is gone. */
  forgetAll(): void {
    this.table.mutex.lock();
    this.#freeAll();
    this.table.mutex.unlock();
  }

  /**
   * Copies what is mapped at `windowOffset` to memory. A guest that hands a mapped file's memory to write() or to direct
   * I/O makes a request whose data lie in the window, where this process has no memory. Reading the file gives the same
   * bytes, and unlike a mapping it has no SIGBUS when the file was cut.
   *
   * The mutex is held meanwhile, so that the descriptor stays what it is.
   * @returns 0 or a negative error number; -EFAULT for what is not mapped
   */
  copyOut(windowOffset: number, bytes: number, address: number): number {
    return this.#copy(windowOffset, bytes, address, false);
  }

  /** Copies memory to what is mapped at `windowOffset`: `copyOut` the other way. */
  copyIn(windowOffset: number, bytes: number, address: number): number {
    return this.#copy(windowOffset, bytes, address, true);
  }

  #copy(windowOffset: number, bytes: number, address: number, intoWindow: boolean): number {
    if (!(windowOffset >= 0 && bytes >= 0 && windowOffset + bytes <= this.bytes)) return -EFAULT;
    this.table.mutex.lock();
    try {
      for (let done = 0; done < bytes; ) {
        const range = Math.floor((windowOffset + done) / RANGE_BYTES);
        const within = (windowOffset + done) % RANGE_BYTES;
        const left = Math.min(this.table.pages[range]! * PAGE_SIZE - within, bytes - done);
        if (left <= 0) return -EFAULT;
        const status = this.#move(range, within, left, address + done, intoWindow);
        if (status < 0) return status;
        done += left;
      }
      return 0;
    } finally {
      this.table.mutex.unlock();
    }
  }

  /** Moves bytes of one range. Behind the file's end its last page reads as zeroes, and what is written there is lost. */
  #move(range: number, within: number, bytes: number, address: number, intoWindow: boolean): number {
    if (this.table.fd[range] === COMPOSITE)
      return intoWindow
        ? -EFAULT
        : this.#readMapped(this.table.node[range]!, this.table.fileOffset[range]! + within, address, bytes);
    const fd = this.#fdOf(range);
    if (fd < 0) return fd;
    const size = fileSize(fd);
    if (size < 0) return size;
    const offset = this.table.fileOffset[range]! + within;
    const inFile = Math.max(0, Math.min(bytes, size - offset));
    const moved = (intoWindow ? writeFully : readFully)(fd, address, inFile, offset);
    if (moved < inFile) return moved < 0 ? moved : -EFAULT;
    if (!intoWindow && inFile < bytes) new Uint8Array(viewMemory(address + inFile, bytes - inFile)).fill(0);
    return 0;
  }

  #freeAll(): void {
    for (let range = 0; range < this.table.ranges; range++)
      if (this.table.node[range] !== 0) closeIfOpen(this.table.free(range));
  }

  /** Unmaps what the VMM may have mapped besides. */
  #clean(): number {
    if (!this.table.isStale) return 0;
    const status = this.#mapper.unmapAll();
    this.table.isStale = status === -EINTR;
    return status === -EINTR ? status : 0;
  }

  #mapRange(range: number, nodeId: number, fd: number, fileOffset: number): number {
    const { table } = this;
    const cleaned = this.#clean();
    if (cleaned < 0) {
      closeSync(fd);
      return cleaned;
    }
    const isThere = table.node[range] === nodeId && table.fileOffset[range] === fileOffset;
    if (!isThere) {
      const status = this.#release(range);
      if (status < 0) {
        closeSync(fd);
        return status;
      }
      table.use(range, nodeId, fd, fileOffset, this.#alias !== null);
    } else if (table.fd[range] === -1) table.fd[range] = fd;
    else closeSync(fd);
    // Only now that the range is counted: see WindowTable.mayHave.
    const size = fileSize(table.fd[range]!);
    const status =
      size < 0 ? size : this.#resize(range, Math.max(table.wanted[range]!, this.#pagesWithin(range, size)));
    if (status < 0 && status !== -EINTR && !isThere) this.#release(range);
    return status;
  }

  #mapPieces(range: number, nodeId: number, pieces: MappingPieces, fileOffset: number): number {
    const { table } = this;
    let status = this.#clean();
    if (status < 0) return status;
    const isThere =
      table.node[range] === nodeId && table.fileOffset[range] === fileOffset && table.fd[range] === COMPOSITE;
    if (!isThere) {
      status = this.#release(range);
      if (status < 0) return status;
      table.use(range, nodeId, COMPOSITE, fileOffset, false);
    }
    table.wanted[range] = pieces.pages;
    status = this.#settle(range);
    // One that was broken off goes on behind what is mapped.
    for (let piece = 0; status === 0 && piece < pieces.count; piece++) {
      const from = pieces.from[piece]!;
      if (from < table.pages[range]!) continue;
      status = this.#mapPiece(range, pieces.fd[piece]!, pieces.fileOffset[piece]!, from, pieces.to[piece]!);
    }
    if (status < 0 && status !== -EINTR && !isThere) this.#release(range);
    return status;
  }

  /** Sees to it that of each of the node's ranges so many pages are mapped as `wish` says. */
  #each(nodeId: number, wish: (range: number, wanted: number) => number): number {
    const { table } = this;
    if (!table.mayHave(nodeId)) return 0;
    table.mutex.lock();
    try {
      for (let range = table.next(nodeId, 0); range >= 0; range = table.next(nodeId, range + 1)) {
        const status = this.#resize(range, wish(range, table.wanted[range]!));
        if (status < 0) return status;
      }
      return 0;
    } finally {
      table.mutex.unlock();
    }
  }

  /**
   * Maps or unmaps pieces until `pages` of the range are mapped.
   *
   * What a call to the mapper is about is written down before, and struck out when it is done: after a call that was
   * broken off (-EINTR, or the end of the process) the piece is unmapped, whether it was there or not.
   */
  #resize(range: number, pages: number): number {
    const { table } = this;
    table.wanted[range] = pages;
    let status = this.#settle(range);
    while (status === 0 && table.pages[range]! > pages)
      status = this.#unmap(range, table.lastPiece(range), table.pages[range]!);
    if (status === 0 && table.pages[range]! < pages) status = this.#map(range, table.pages[range]!, pages);
    return status;
  }

  #map(range: number, from: number, to: number): number {
    const { table } = this;
    const fd = this.#fdOf(range);
    if (fd < 0) return fd;
    const fileOffset = table.fileOffset[range]! + from * PAGE_SIZE;
    if (table.whole[range] === 0) return this.#mapPiece(range, fd, fileOffset, from, to);
    // Only a range in which the file ends takes an alias. One that the file is cut in later stays as it is, as an alias would.
    if (fileSize(fd) >= fileOffset + (to - from) * PAGE_SIZE) {
      const status = this.#mapPiece(range, fd, fileOffset, from, to);
      // Refused: it may have been cut just now.
      if (status !== -EIO) return status;
    }
    const alias = this.#alias?.(fd) ?? -ENODEV;
    if (alias < 0) {
      // Such as a file on a file system that is stacked on others itself: by pieces then.
      table.whole[range] = 0;
      const size = fileSize(fd);
      if (size < 0) return size;
      table.wanted[range] = this.#pagesWithin(range, size);
      return table.wanted[range] > from ? this.#mapPiece(range, fd, fileOffset, from, table.wanted[range]) : 0;
    }
    try {
      return this.#mapPiece(range, alias, fileOffset, from, to);
    } finally {
      closeSync(alias);
    }
  }

  /** @param fd what the VMM is given, mapped from `fdOffset` of it */
  #mapPiece(range: number, fd: number, fdOffset: number, from: number, to: number): number {
    const { table } = this;
    table.changeFrom[range] = from;
    table.changeTo[range] = to;
    const bytes = (to - from) * PAGE_SIZE;
    const status = this.#mapper.map(fd, fdOffset, range * RANGE_BYTES + from * PAGE_SIZE, bytes, true);
    if (status === -EINTR) return status;
    if (status === 0) table.addPiece(range, from, to);
    table.changeTo[range] = from;
    return status;
  }

  #unmap(range: number, from: number, to: number): number {
    this.table.changeFrom[range] = to;
    this.table.changeTo[range] = from;
    return this.#finishUnmap(range, from, to);
  }

  #settle(range: number): number {
    const { table } = this;
    const from = table.changeFrom[range]!;
    const to = table.changeTo[range]!;
    if (from === to) return 0;
    // What was written down stays until this has succeeded: it may be broken off too.
    if (table.pages[range] !== to) return this.#finishUnmap(range, Math.min(from, to), Math.max(from, to));
    // `pages` is where the change was to lead: only striking it out is left to do.
    table.changeTo[range] = from;
    return 0;
  }

  #finishUnmap(range: number, from: number, to: number): number {
    const { table } = this;
    const status = this.#mapper.unmap(range * RANGE_BYTES + from * PAGE_SIZE, (to - from) * PAGE_SIZE);
    if (status === -EINTR) return status;
    if (status === 0) table.removeLastPiece(range, from);
    table.changeTo[range] = table.changeFrom[range]!;
    return status;
  }

  /** Unmaps all of a range and makes it free. */
  #release(range: number): number {
    if (this.table.node[range] === 0) return 0;
    const status = this.#resize(range, 0);
    if (status === 0) closeIfOpen(this.table.free(range));
    return status;
  }

  #fdOf(range: number): number {
    const { table } = this;
    if (table.fd[range] === -1) {
      if (table.node[range] === 0) return -EBADF;
      const fd = this.#reopen(table.node[range]!);
      if (fd < 0) return fd;
      table.fd[range] = fd;
    }
    return table.fd[range]!;
  }

  /** Pages of the range that are to be mapped for a file of that size. */
  #pagesWithin(range: number, size: number): number {
    const bytes = size - this.table.fileOffset[range]!;
    if (this.table.whole[range] !== 0) return bytes > 0 ? RANGE_PAGES : 0;
    return Math.max(0, Math.min(RANGE_PAGES, Math.ceil(bytes / PAGE_SIZE)));
  }

  /** -1 for what is not the start of a range. */
  #rangeAt(windowOffset: number): number {
    return windowOffset >= 0 && windowOffset < this.bytes && windowOffset % RANGE_BYTES === 0
      ? windowOffset / RANGE_BYTES
      : -1;
  }
}

function closeIfOpen(fd: number): void {
  if (fd >= 0) closeSync(fd);
}
