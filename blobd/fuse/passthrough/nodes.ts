import { errno, type FileCalls, fileCalls } from "../../sys/index.ts";
import { SlotTable } from "../shared/index.ts";
import type { Devices } from "./devices.ts";
import type { HandleScratch } from "./handle.ts";
import { InodeIndex } from "./inode-index.ts";
import { EINTR, ENFILE, ESTALE, O_CLOEXEC, O_NOFOLLOW, O_PATH } from "./linux.ts";
import { BY_HANDLE, deviceOf, handleBytes, handleType, infoOf, infoOfHandle, MAPPED, typeOf } from "./node-info.ts";
import { FD_RING, HANDLE_BYTES, Node, type State } from "./state.ts";

/** The export's root: node ID 1, which is what slot 1 of generation 0 is called. */
export const ROOT_SLOT = 1;

const UNIT = 0x1_0000_0000;
/** Tries to find a descriptor in the ring that nobody is using. */
const EVICTIONS = 8;

/**
 * The files that the kernel on the other side knows, by node ID, and each inode once. A node is held by a descriptor
 * (O_PATH), or by a file handle, which takes none; then the descriptors of those used last are kept all the same.
 *
 * One object serves one thread; the memory behind it is all threads'. What is found stays as it is while it is pinned.
 */
export class Nodes {
  readonly #state: State;
  readonly #table: SlotTable;
  readonly #words: Int32Array;
  readonly #calls: FileCalls = fileCalls();
  readonly #devices: Devices;
  readonly #handle: HandleScratch;
  readonly #index: InodeIndex;

  constructor(state: State, devices: Devices, handle: HandleScratch) {
    this.#state = state;
    this.#words = state.words;
    this.#devices = devices;
    this.#handle = handle;
    this.#table = new SlotTable(state.nodes, (slot) => this.#close(slot));
    this.#index = new InodeIndex(state, this.#table, handle);
  }

  /** How many are known. */
  get count(): number {
    return this.#table.used;
  }

  /** @returns the slot of the node, pinned; 0 when there is no such node. */
  pin(nodeId: number): number {
    return this.#table.pin(nodeId);
  }
  unpin(slot: number): void {
    this.#table.unpin(slot);
  }
  idOf(slot: number): number {
    return this.#table.idOf(slot);
  }
  deviceOf(slot: number): number {
    return deviceOf(this.#info(slot));
  }
  /** The file type: S_IFREG, S_IFDIR … */
  typeOf(slot: number): number {
    return typeOf(this.#info(slot));
  }
  /** Whether parts of it were ever mapped into the guest. */
  isMapped(slot: number): boolean {
    return (Atomics.load(this.#words, this.#table.at(slot) + Node.info) & MAPPED) !== 0;
  }
  setMapped(slot: number): void {
    Atomics.or(this.#words, this.#table.at(slot) + Node.info, MAPPED);
  }

  /**
   * Counts a lookup of the inode if it is known and surely the same: an inode whose descriptor is open keeps its number.
   * @returns its slot, or 0
   */
  hit(device: number, inoLow: number, inoHigh: number): number {
    this.#state.mutex.lock();
    const slot = this.#index.find(device, inoLow, inoHigh, false);
    if (slot !== 0) this.#countLookup(slot);
    this.#state.mutex.unlock();
    return slot;
  }

  /**
   * Counts a lookup of the inode whose file handle is in the scratch memory, and makes it known if it is not.
   * @returns its slot; -ENFILE when there is no room
   */
  addByHandle(device: number, inoLow: number, inoHigh: number, mode: number): number {
    return this.#add(device, inoLow, inoHigh, mode, -1);
  }

  /**
   * Counts a lookup of the inode that `fd` is a descriptor of, and makes it known if it is not. The descriptor is the
   * node's from then on, whatever the result.
   * @returns its slot; -ENFILE when there is no room
   */
  addByDescriptor(device: number, inoLow: number, inoHigh: number, mode: number, fd: number): number {
    return this.#add(device, inoLow, inoHigh, mode, fd);
  }

  #add(device: number, inoLow: number, inoHigh: number, mode: number, fd: number): number {
    const { mutex } = this.#state;
    mutex.lock();
    let slot = this.#index.find(device, inoLow, inoHigh, fd < 0);
    let spare = fd;
    let isLost = false;
    if (slot === 0 && (fd < 0 || this.#state.countDescriptor())) {
      slot = this.#table.allocate();
      if (slot !== 0 && !this.#devices.addNode(device)) {
        this.#table.recycle(slot);
        slot = 0;
        isLost = true;
      }
      if (slot !== 0) {
        this.#fill(slot, device, inoLow, inoHigh, mode, fd);
        spare = -1;
      } else if (fd >= 0) this.#state.uncountDescriptor();
    }
    if (slot !== 0) this.#countLookup(slot);
    mutex.unlock();
    if (spare >= 0) this.#calls.close(spare);
    return slot !== 0 ? slot : isLost ? -ESTALE : -ENFILE;
  }

  #fill(slot: number, device: number, inoLow: number, inoHigh: number, mode: number, fd: number): void {
    const words = this.#words;
    const at = this.#table.at(slot);
    words[at + Node.inoLow] = inoLow;
    words[at + Node.inoHigh] = inoHigh;
    words[at + Node.lookupsLow] = 0;
    words[at + Node.lookupsHigh] = 0;
    words[at + Node.fd] = fd;
    let info = infoOf(device, mode);
    if (fd < 0) {
      info |= infoOfHandle(this.#handle.bytes, this.#handle.type);
      this.#handle.save(words, at + Node.handle);
    }
    words[at + Node.info] = info;
    this.#index.link(slot);
    this.#table.publish(slot);
  }

  #countLookup(slot: number): void {
    const at = this.#table.at(slot) + Node.lookupsLow;
    const words = this.#words;
    words[at] = (words[at]! + 1) | 0;
    if (words[at] === 0) words[at + 1]!++;
  }

  /** Takes lookups back; the node is forgotten when none are left. The root stays. */
  forget(nodeId: number, lookups: number): void {
    const slot = nodeId >>> 0;
    if (slot <= ROOT_SLOT || slot > this.#table.capacity) return;
    const words = this.#words;
    const at = this.#table.at(slot);
    const { mutex } = this.#state;
    mutex.lock();
    let isGone = false;
    if (this.#table.isLive(slot) && this.#table.idOf(slot) === nodeId) {
      const left = words[at + Node.lookupsHigh]! * UNIT + (words[at + Node.lookupsLow]! >>> 0) - lookups;
      isGone = left <= 0;
      if (isGone) this.#index.unlink(slot);
      else {
        words[at + Node.lookupsLow] = left | 0;
        words[at + Node.lookupsHigh] = Math.floor(left / UNIT);
      }
    }
    mutex.unlock();
    if (isGone) this.#table.retire(slot);
  }

  /** Forgets all but the root. */
  forgetAll(): void {
    for (let slot = this.#table.highWater; slot > ROOT_SLOT; slot--)
      if (this.#table.isLive(slot)) this.forget(this.#table.idOf(slot), Number.MAX_SAFE_INTEGER);
  }

  #info(slot: number): number {
    return this.#words[this.#table.at(slot) + Node.info]!;
  }

  /** @returns an O_PATH descriptor of the pinned node, valid while it is pinned; a negative error number. */
  fdOf(slot: number): number {
    const fd = Atomics.load(this.#words, this.#table.at(slot) + Node.fd);
    return fd >= 0 ? fd : this.isByHandle(slot) ? this.#openAndKeep(slot) : -ESTALE;
  }

  #openAndKeep(slot: number): number {
    const opened = this.openByHandle(slot, O_PATH | O_NOFOLLOW);
    if (opened < 0) return opened;
    const words = this.#words;
    const at = this.#table.at(slot) + Node.fd;
    const { mutex } = this.#state;
    mutex.lock();
    const other = words[at]!;
    let spare = opened;
    if (other < 0) {
      Atomics.store(words, at, opened);
      spare = this.#enterRing(slot);
    }
    mutex.unlock();
    if (spare >= 0) this.#calls.close(spare);
    return other < 0 ? opened : other;
  }

  /**
   * Opens a descriptor for a node that was just looked up and is known from before, while there are few: the next lookup
   * of it then needs no comparing of handles. With many nodes it would only drive out another's.
   */
  keepIfFew(slot: number): void {
    const at = this.#table.at(slot);
    if (this.#words[at + Node.lookupsLow] === 1 || this.#table.used > this.#state.ringSize) return;
    if (this.pin(this.idOf(slot)) === 0) return;
    this.fdOf(slot);
    this.unpin(slot);
  }

  /** With the mutex held. @returns the descriptor that had to make room; -1 for none */
  #enterRing(slot: number): number {
    const words = this.#words;
    for (let tries = 0; tries < EVICTIONS; tries++) {
      const place = this.#state.ringAt(this.#state.nextRing());
      const old = words[place]!;
      if (old !== 0 && this.#table.isPinned(old) && old !== slot) continue;
      words[place] = slot;
      if (old === 0 || old === slot) return -1;
      const at = this.#table.at(old);
      if (!this.#table.isLive(old) || (words[at + Node.info]! & BY_HANDLE) === 0) return -1;
      const fd = Atomics.exchange(words, at + Node.fd, -1);
      // From here on nobody can find the descriptor; who found it before has the node pinned.
      if (!this.#table.isPinned(old)) return fd;
      Atomics.store(words, at + Node.fd, fd);
    }
    return -1;
  }

  isByHandle(slot: number): boolean {
    return (this.#info(slot) & BY_HANDLE) !== 0;
  }

  /** Opens the pinned node, which is held by a handle. @returns a descriptor of the caller's; a negative error number */
  openByHandle(slot: number, flags: number): number {
    const at = this.#table.at(slot);
    const info = this.#words[at + Node.info]!;
    this.#handle.load(this.#words, at + Node.handle, handleBytes(info), handleType(info));
    const mount = this.#devices.mountFd(deviceOf(info));
    if (mount < 0) return -ESTALE;
    for (;;) {
      const fd = this.#calls.openByHandleAt(mount, this.#handle.address, flags | O_CLOEXEC);
      if (fd >= 0) return fd;
      const error = errno();
      if (error !== EINTR) return -error;
    }
  }

  /** Makes the root known. @param fd its O_PATH descriptor, which stays open */
  addRoot(device: number, inoLow: number, inoHigh: number, mode: number, fd: number): void {
    this.#state.mutex.lock();
    const slot = this.#table.allocate();
    this.#devices.addNode(device);
    this.#fill(slot, device, inoLow, inoHigh, mode, fd);
    this.#countLookup(slot);
    this.#state.mutex.unlock();
    if (slot !== ROOT_SLOT) throw new Error(`the root got slot ${slot}`);
  }

  /** Whether the node is of this inode, for inodes that are sure to be there. */
  isInode(slot: number, device: number, inoLow: number, inoHigh: number): boolean {
    const at = this.#table.at(slot);
    const words = this.#words;
    const isSameNumber = words[at + Node.inoLow] === inoLow && words[at + Node.inoHigh] === inoHigh;
    return isSameNumber && this.deviceOf(slot) === device;
  }

  /** At the very end. */
  closeRoot(): void {
    this.#table.retire(ROOT_SLOT);
  }

  #close(slot: number): void {
    const at = this.#table.at(slot);
    const fd = Atomics.exchange(this.#words, at + Node.fd, -1);
    if (fd >= 0) this.#calls.close(fd);
    this.#state.mutex.lock();
    if ((this.#words[at + Node.info]! & BY_HANDLE) === 0) this.#state.uncountDescriptor();
    const mount = this.#devices.removeNode(deviceOf(this.#words[at + Node.info]!));
    this.#table.recycle(slot);
    this.#state.mutex.unlock();
    if (mount >= 0) this.#calls.close(mount);
  }

  /**
   * After a restart, before other threads look: descriptors are gone, and with them the nodes that had nothing else.
   * @param rootFd the root's new descriptor
   * @returns how many nodes count as held by one
   */
  recover(rootFd: number): number {
    const words = this.#words;
    let byDescriptor = 0;
    this.#table.recover();
    this.#index.clear();
    for (let place = 0; place < FD_RING; place++) words[this.#state.ringAt(place)] = 0;
    for (let slot = this.#table.highWater; slot > 0; slot--) {
      if (!this.#table.isLive(slot)) continue;
      const at = this.#table.at(slot);
      words[at + Node.fd] = slot === ROOT_SLOT ? rootFd : -1;
      if ((words[at + Node.info]! & BY_HANDLE) === 0) byDescriptor++;
      this.#devices.recountNode(deviceOf(words[at + Node.info]!));
      this.#index.link(slot);
    }
    return byDescriptor;
  }
}

if (HANDLE_BYTES !== (16 - Node.handle) * 4) throw new Error("nodes: a handle does not fit");
