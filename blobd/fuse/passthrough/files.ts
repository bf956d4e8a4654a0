import { type FileCalls, fileCalls } from "../../sys/index.ts";
import { SlotTable } from "../shared/index.ts";
import { EBADF, ENFILE } from "./linux.ts";
import { File, type State } from "./state.ts";

/** What an open file is. */
export const FileKind = { FILE: 1, DIRECTORY: 2, LOCK: 3 } as const;

/**
 * What the other side has open, by file handle. One object serves one thread; the memory behind it is all threads'. What
 * is found stays open while it is pinned.
 */
export class Files {
  readonly #state: State;
  readonly #table: SlotTable;
  readonly #words: Int32Array;
  readonly #calls: FileCalls = fileCalls();
  readonly #onReleased: ((fh: number) => void) | undefined;

  /** @param onReleased is told of closed files that were held outside */
  constructor(state: State, onReleased?: (fh: number) => void) {
    this.#state = state;
    this.#onReleased = onReleased;
    this.#words = state.words;
    this.#table = new SlotTable(state.files, (slot) => this.#close(slot));
  }

  get count(): number {
    return this.#table.used;
  }

  /**
   * Enters an open file; the descriptor is taken over, whatever the result.
   * @returns its slot; -ENFILE when too many are open
   */
  add(kind: number, fd: number, nodeId: number, flags: number): number {
    const { mutex } = this.#state;
    mutex.lock();
    const slot = this.#enter(kind, fd, nodeId, flags, 0, 0);
    mutex.unlock();
    if (slot !== 0) return slot;
    this.#calls.close(fd);
    return -ENFILE;
  }

  /** With the mutex held. @returns 0 when there is no room */
  #enter(kind: number, fd: number, nodeId: number, flags: number, ownerLow: number, ownerHigh: number): number {
    if (!this.#state.countDescriptor()) return 0;
    const slot = this.#table.allocate();
    if (slot === 0) {
      this.#state.uncountDescriptor();
      return 0;
    }
    const at = this.#table.at(slot);
    const words = this.#words;
    words[at + File.fd] = fd;
    words[at + File.node] = nodeId >>> 0;
    words[at + File.nodeGeneration] = Math.floor(nodeId / 0x1_0000_0000);
    words[at + File.flags] = flags;
    words[at + File.kind] = kind;
    words[at + File.positionLow] = 0;
    words[at + File.positionHigh] = 0;
    words[at + File.ownerLow] = ownerLow;
    words[at + File.ownerHigh] = ownerHigh;
    words[at + File.isHeld] = 0;
    if (kind === FileKind.LOCK) this.#state.owners(1);
    this.#table.publish(slot);
    return slot;
  }

  idOf(slot: number): number {
    return this.#table.idOf(slot);
  }

  /** @returns the slot of the open file, pinned; 0 when `fh` is not one of this kind and node. */
  pin(fh: number, kind: number, nodeId: number): number {
    const slot = this.#table.pin(fh);
    if (slot === 0) return 0;
    if (this.#words[this.#table.at(slot) + File.kind] === kind && this.nodeOf(slot) === nodeId) return slot;
    this.#table.unpin(slot);
    return 0;
  }
  unpin(slot: number): void {
    this.#table.unpin(slot);
  }

  /**
   * Enters the open file that holds a lock owner's locks; the descriptor is taken over.
   * @returns its slot, or that of one that was there first, pinned; -ENFILE
   */
  addOwner(fd: number, nodeId: number, flags: number, ownerLow: number, ownerHigh: number): number {
    const { mutex } = this.#state;
    mutex.lock();
    // Another thread may have entered the same owner meanwhile.
    const isKnown = this.#findOwner(nodeId, ownerLow, ownerHigh) !== 0;
    const slot = isKnown ? 0 : this.#enter(FileKind.LOCK, fd, nodeId, flags, ownerLow, ownerHigh);
    mutex.unlock();
    if (slot === 0) this.#calls.close(fd);
    if (slot === 0 && !isKnown) return -ENFILE;
    const pinned = this.pinOwner(nodeId, ownerLow, ownerHigh);
    return pinned === 0 ? -EBADF : pinned;
  }

  #findOwner(nodeId: number, ownerLow: number, ownerHigh: number): number {
    if (this.#state.owners(0) === 0) return 0;
    for (let slot = 1; slot <= this.#table.highWater; slot++)
      if (this.#isOwners(slot, nodeId, ownerLow, ownerHigh)) return slot;
    return 0;
  }

  /** @returns the slot of the open file that holds this owner's locks on the node, pinned; 0 when there is none */
  pinOwner(nodeId: number, ownerLow: number, ownerHigh: number): number {
    for (;;) {
      const slot = this.#findOwner(nodeId, ownerLow, ownerHigh);
      if (slot === 0 || this.#table.pin(this.#table.idOf(slot)) === 0) return 0;
      if (this.#isOwners(slot, nodeId, ownerLow, ownerHigh)) return slot;
      this.#table.unpin(slot);
    }
  }

  #isOwners(slot: number, nodeId: number, ownerLow: number, ownerHigh: number): boolean {
    const at = this.#table.at(slot);
    const words = this.#words;
    return (
      words[at + File.kind] === FileKind.LOCK &&
      words[at + File.ownerLow] === ownerLow &&
      words[at + File.ownerHigh] === ownerHigh &&
      this.nodeOf(slot) === nodeId &&
      this.#table.isLive(slot)
    );
  }

  /** The owner's locks on the node go. */
  releaseOwner(nodeId: number, ownerLow: number, ownerHigh: number): void {
    for (;;) {
      const slot = this.pinOwner(nodeId, ownerLow, ownerHigh);
      if (slot === 0) return;
      this.#table.retire(slot);
      this.#table.unpin(slot);
    }
  }

  fdOf(slot: number): number {
    return this.#words[this.#table.at(slot) + File.fd]!;
  }
  nodeOf(slot: number): number {
    const at = this.#table.at(slot);
    return this.#words[at + File.nodeGeneration]! * 0x1_0000_0000 + this.#words[at + File.node]!;
  }
  /** Index in the state's words of the slot's first, for its `File` words. */
  at(slot: number): number {
    return this.#table.at(slot);
  }

  /** @returns false when it was marked before */
  markHeld(slot: number): boolean {
    return Atomics.exchange(this.#words, this.#table.at(slot) + File.isHeld, 1) === 0;
  }

  /** Calls with each open file of a kind, pinned meanwhile. */
  forEach(kind: number, use: (slot: number) => void): void {
    for (let slot = this.#table.highWater; slot > 0; slot--) {
      if (this.#words[this.#table.at(slot) + File.kind] !== kind) continue;
      if (this.#table.pin(this.#table.idOf(slot)) === 0) continue;
      if (this.#words[this.#table.at(slot) + File.kind] === kind) use(slot);
      this.#table.unpin(slot);
    }
  }

  /** Closes an open file as soon as nobody uses it. @returns false when `fh` is not one of this kind and node */
  release(fh: number, kind: number, nodeId: number): boolean {
    const slot = this.pin(fh, kind, nodeId);
    if (slot === 0) return false;
    this.#table.retire(slot);
    this.#table.unpin(slot);
    return true;
  }

  /** Closes all. */
  releaseAll(): void {
    for (let slot = this.#table.highWater; slot > 0; slot--) this.#table.retire(slot);
  }

  #close(slot: number): void {
    const at = this.#table.at(slot);
    const fd = this.#words[at + File.fd]!;
    this.#words[at + File.fd] = -1;
    if (this.#words[at + File.kind] === FileKind.LOCK) this.#state.owners(-1);
    if (fd >= 0) this.#calls.close(fd);
    if (this.#words[at + File.isHeld] === 1) this.#onReleased?.(this.#table.idOf(slot));
    this.#state.mutex.lock();
    this.#state.uncountDescriptor();
    this.#table.recycle(slot);
    this.#state.mutex.unlock();
  }

  /** After a restart, before other threads look: descriptors are gone; `reopen` says what takes their place, -1 for nothing. */
  recover(reopen: (kind: number, fh: number, nodeId: number, flags: number) => number): void {
    this.#table.recover();
    for (let slot = this.#table.highWater; slot > 0; slot--) {
      if (!this.#table.isLive(slot)) continue;
      const at = this.#table.at(slot);
      const words = this.#words;
      words[at + File.fd] = Math.max(
        -1,
        reopen(words[at + File.kind]!, this.idOf(slot), this.nodeOf(slot), words[at + File.flags]!),
      );
      words[at + File.positionLow] = 0;
      words[at + File.positionHigh] = 0;
    }
  }
}
