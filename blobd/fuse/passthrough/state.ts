import { InHeader } from "../../../formats/fuse/index.ts";
import { Mutex, mapShared, memfd, viewMemory } from "../../sys/index.ts";
import { SLOT_WORDS, type SlotLayout, TABLE_HEAD_WORDS } from "../shared/index.ts";

/**
 * What the threads of a mount share, in one piece of memory that outlives the process:
 *
 * ```
 *  head        magic, sizes, mutex, table heads, counters       1 page
 *  devices     MAX_DEVICES of 8 words                           2 pages
 *  interrupts  INTERRUPTS of 2 words: requests not wanted any more
 *  fd ring     FD_RING words: nodes whose descriptor is kept, oldest first
 *  buckets     heads of the nodes' hash chains, one word each
 *  nodes       64 bytes each
 *  files       64 bytes each
 * ```
 * Descriptors in it are those of the process; another process drops them (recover.ts).
 */
const MAGIC = 0x65726f50;
const VERSION = 1;
const PAGE_WORDS = 1024;

/** Words of the head. */
const Head = {
  magic: 0,
  version: 1,
  maxNodes: 2,
  maxFiles: 3,
  mutex: 4,
  resizing: 5,
  nodes: 8,
  files: 12,
  ringHand: 16,
  interrupt: 17,
  owners: 18,
  descriptors: 19,
  descriptorLimit: 20,
  ringSize: 21,
  appendedLow: 22,
  appendedHigh: 23,
  appendedBytes: 24,
} as const;
const DEVICES_AT = PAGE_WORDS;
export const DEVICE_WORDS = 8;
export const MAX_DEVICES = 256;
const INTERRUPTS_AT = DEVICES_AT + MAX_DEVICES * DEVICE_WORDS;
export const INTERRUPTS = 512;
const RING_AT = INTERRUPTS_AT + 2 * INTERRUPTS;
export const FD_RING = 2048;
const RESERVED_DESCRIPTORS = 2048;
const BUCKETS_AT = RING_AT + FD_RING;

/** Words of a node behind a slot's own. The last six hold its file handle. */
export const Node = { inoLow: 4, inoHigh: 5, lookupsLow: 6, lookupsHigh: 7, fd: 8, info: 9, handle: 10 } as const;
const NODE_WORDS = 16;
export const HANDLE_BYTES = 24;

/** Words of an open file behind a slot's own. */
export const File = {
  fd: 4,
  node: 5,
  nodeGeneration: 6,
  flags: 7,
  kind: 8,
  positionLow: 9,
  positionHigh: 10,
  ownerLow: 11,
  ownerHigh: 12,
  /** 1 once it is held outside. */
  isHeld: 13,
} as const;
const FILE_WORDS = 16;

/** The description of a mount's state, for the threads that open it. */
export interface StateMemory {
  /** Its memfd: another process that is given it finds the same bytes. */
  readonly fd: number;
  readonly address: number;
  readonly bytes: number;
  readonly maxNodes: number;
  readonly maxFiles: number;
}

interface Layout {
  readonly buckets: number;
  readonly nodesAt: number;
  readonly filesAt: number;
  readonly words: number;
}

function layoutOf(maxNodes: number, maxFiles: number): Layout {
  // Twice as many nodes as buckets at most: chains stay short.
  const buckets = 2 ** Math.max(10, Math.ceil(Math.log2(maxNodes)) - 1);
  const nodesAt = pageUp(BUCKETS_AT + buckets);
  const filesAt = pageUp(nodesAt + (maxNodes + 1) * NODE_WORDS);
  return { buckets, nodesAt, filesAt, words: pageUp(filesAt + (maxFiles + 1) * FILE_WORDS) };
}
function pageUp(words: number): number {
  return Math.ceil(words / PAGE_WORDS) * PAGE_WORDS;
}

function mapState(fd: number, bytes: number) {
  return { fd, address: mapShared(fd, 0, bytes), bytes };
}

/** Makes the memory of a mount that starts. */
export function createState(maxNodes: number, maxFiles: number): StateMemory {
  const bytes = layoutOf(maxNodes, maxFiles).words * 4;
  const memory = mapState(memfd("passthrough", bytes), bytes);
  const words = new Int32Array(viewMemory(memory.address, memory.bytes));
  words[Head.maxNodes] = maxNodes;
  words[Head.maxFiles] = maxFiles;
  words[Head.version] = VERSION;
  words[Head.magic] = MAGIC;
  return { ...memory, maxNodes, maxFiles };
}

/**
 * Maps the memory of a mount that another process served.
 * @throws RangeError when it is of another kind or size.
 */
export function reopenState(fd: number, maxNodes: number, maxFiles: number): StateMemory {
  const memory = mapState(fd, layoutOf(maxNodes, maxFiles).words * 4);
  const words = new Int32Array(viewMemory(memory.address, memory.bytes));
  const found = [words[Head.magic], words[Head.version], words[Head.maxNodes], words[Head.maxFiles]];
  const expected = [MAGIC, VERSION, maxNodes, maxFiles];
  if (found.some((value, index) => value !== expected[index]))
    throw new RangeError(`state of another mount: found ${found.join("/")}, expected ${expected.join("/")}`);
  return { ...memory, maxNodes, maxFiles };
}

/** A thread's view of the state. */
export class State {
  readonly words: Int32Array;
  readonly mutex: Mutex;
  /** Held while mapped files change their size, and while files are mapped. */
  readonly resizing: Mutex;
  readonly nodes: SlotLayout;
  readonly files: SlotLayout;
  readonly buckets: number;

  constructor(memory: StateMemory) {
    const layout = layoutOf(memory.maxNodes, memory.maxFiles);
    this.words = new Int32Array(viewMemory(memory.address, memory.bytes));
    this.mutex = new Mutex(memory.address + Head.mutex * 4);
    this.resizing = new Mutex(memory.address + Head.resizing * 4);
    this.buckets = layout.buckets;
    const { words } = this;
    this.nodes = { words, head: Head.nodes, first: layout.nodesAt, slotWords: NODE_WORDS, capacity: memory.maxNodes };
    this.files = { words, head: Head.files, first: layout.filesAt, slotWords: FILE_WORDS, capacity: memory.maxFiles };
  }

  /** Index of a hash chain's head. */
  bucketAt(bucket: number): number {
    return BUCKETS_AT + bucket;
  }
  deviceAt(device: number): number {
    return DEVICES_AT + device * DEVICE_WORDS;
  }
  ringAt(index: number): number {
    return RING_AT + index;
  }
  /** How many nodes by handle may have a descriptor too. */
  get ringSize(): number {
    return this.words[Head.ringSize]!;
  }
  /** Takes the ring's next place. With the mutex held. */
  nextRing(): number {
    const hand = this.words[Head.ringHand]!;
    this.words[Head.ringHand] = (hand + 1) % this.words[Head.ringSize]!;
    return hand;
  }
  interruptAt(index: number): number {
    return INTERRUPTS_AT + 2 * index;
  }
  nextInterrupt(): number {
    return (Atomics.add(this.words, Head.interrupt, 1) >>> 0) % INTERRUPTS;
  }
  /**
   * Counts descriptors that the other side has the daemon hold: open files, and nodes held by one. With the mutex held.
   * @returns false when there would be too many
   */
  countDescriptor(): boolean {
    const { words } = this;
    if (words[Head.descriptors]! >= words[Head.descriptorLimit]!) return false;
    words[Head.descriptors]!++;
    return true;
  }
  uncountDescriptor(): void {
    this.words[Head.descriptors]!--;
  }
  /**
   * Divides what the process may open.
   * @param count descriptors that are held already
   * @param limit the process's limit
   */
  setDescriptors(count: number, limit: number): void {
    // A quarter of a small limit is kept for nodes used last, and one for what is not the other side's: sockets, queues,
    // mapped files, what is open for the time of a call.
    const ring = Math.min(FD_RING, limit >>> 2, this.nodes.capacity >>> 1);
    this.words[Head.ringSize] = ring;
    this.words[Head.ringHand] = 0;
    this.words[Head.descriptors] = count;
    this.words[Head.descriptorLimit] = limit - ring - Math.min(RESERVED_DESCRIPTORS, limit >>> 2);
  }

  /** Remembers that the request with this header has appended so many bytes. One is enough: threads are stopped for it. */
  setAppended(header: DataView, bytes: number): void {
    const { words } = this;
    words[Head.appendedLow] = header.getInt32(InHeader.at.unique, true);
    words[Head.appendedHigh] = header.getInt32(InHeader.at.unique + 4, true);
    words[Head.appendedBytes] = bytes;
  }
  /** @returns the bytes that this request has appended before, once; -1 for none */
  takeAppended(header: DataView): number {
    const { words } = this;
    if (words[Head.appendedLow] !== header.getInt32(InHeader.at.unique, true)) return -1;
    if (words[Head.appendedHigh] !== header.getInt32(InHeader.at.unique + 4, true)) return -1;
    const bytes = words[Head.appendedBytes]!;
    words[Head.appendedBytes] = 0;
    return bytes === 0 ? -1 : bytes;
  }

  /** Adds to the number of lock owners. @returns what it was */
  owners(change: number): number {
    return Atomics.add(this.words, Head.owners, change);
  }
  /** How many interrupts there ever were, modulo 2^32. */
  get interrupts(): number {
    return Atomics.load(this.words, Head.interrupt);
  }
}

if (Head.files + TABLE_HEAD_WORDS > Head.ringHand || NODE_WORDS < SLOT_WORDS + 12 || BUCKETS_AT % PAGE_WORDS !== 0)
  throw new Error("state: the layout does not add up");
