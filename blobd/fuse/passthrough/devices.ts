import { allocAligned, errno, type FileCalls, fileCalls } from "../../sys/index.ts";
import type { Settings } from "./config.ts";
import type { HandleScratch } from "./handle.ts";
import {
  AT_EMPTY_PATH,
  ENFILE,
  EXDEV,
  O_CLOEXEC,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  STATX_MASK,
  Statx,
} from "./linux.ts";
import type { Proc } from "./proc.ts";
import type { StatScratch } from "./stat.ts";
import { MAX_DEVICES, type State } from "./state.ts";

/** Words of a device. */
const Device = { isUsed: 0, mountLow: 1, mountHigh: 2, major: 3, minor: 4, fd: 5, flags: 6, nodes: 7 } as const;
const BY_HANDLE = 1;
const QUIET = 2;
const USED = 1;
/** Used by the process before, and not met again yet. */
const LOST = 2;

/**
 * File systems without a `flush` operation, by which close(2) could fail: ext2 to ext4, XFS, Btrfs, tmpfs. Others, as NFS, write
 * back then. Linux include/uapi/linux/magic.h; `f_type`, the first word of `struct statfs`.
 */
const QUIET_FILE_SYSTEMS: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994]);
const STATFS_BYTES = 120;

/** The device of the export itself. */
export const ROOT_DEVICE = 0;

/**
 * The mounts that the export reaches, by number: a file belongs to one of them, and file handles are opened through one.
 * A mount is found when it is first looked up, and let go when nothing of it is known any more, so that the host can unmount
 * it.
 */
export class Devices {
  readonly #state: State;
  readonly #words: Int32Array;
  readonly #calls: FileCalls = fileCalls();
  readonly #stat: StatScratch;
  readonly #handle: HandleScratch;
  readonly #proc: Proc;
  readonly #settings: Settings;

  constructor(state: State, stat: StatScratch, handle: HandleScratch, proc: Proc, settings: Settings) {
    this.#state = state;
    this.#words = state.words;
    this.#stat = stat;
    this.#handle = handle;
    this.#proc = proc;
    this.#settings = settings;
  }

  /** A descriptor on the mount, for open_by_handle_at(2); -1 when it was lost in a restart. */
  mountFd(device: number): number {
    return this.#words[this.#state.deviceAt(device) + Device.fd]!;
  }
  /** Whether its files are held by handles. */
  usesHandles(device: number): boolean {
    return (this.#words[this.#state.deviceAt(device) + Device.flags]! & BY_HANDLE) !== 0;
  }

  /** Whether close(2) of its files has nothing to say: see QUIET_FILE_SYSTEMS. */
  closesQuietly(device: number): boolean {
    return (this.#words[this.#state.deviceAt(device) + Device.flags]! & QUIET) !== 0;
  }

  allCloseQuietly(): boolean {
    for (let device = 0; device < MAX_DEVICES; device++)
      if (this.#words[this.#state.deviceAt(device) + Device.isUsed] === USED && !this.closesQuietly(device))
        return false;
    return true;
  }

  /**
   * The device of the file that was just looked up.
   * @param parent the directory's device, which it mostly is too
   * @returns -1 when it is one that is not known
   */
  find(parent: number): number {
    if (this.#is(parent)) return parent;
    for (let device = 0; device < MAX_DEVICES; device++) if (this.#is(device)) return device;
    return -1;
  }

  #is(device: number): boolean {
    const at = this.#state.deviceAt(device);
    const { dv } = this.#stat;
    const words = this.#words;
    return (
      words[at + Device.mountLow] === dv.getInt32(Statx.mntId, true) &&
      words[at + Device.minor] === dv.getInt32(Statx.devMinor, true) &&
      words[at + Device.major] === dv.getInt32(Statx.devMajor, true) &&
      words[at + Device.mountHigh] === dv.getInt32(Statx.mntId + 4, true) &&
      words[at + Device.isUsed] === USED
    );
  }

  /**
   * Makes the mount known that the file behind an O_PATH descriptor is on.
   * @returns its number; -EXDEV where mounts below the export are not served, -ENFILE when there are too many
   */
  add(fd: number): number {
    if (!this.#settings.submounts) return -EXDEV;
    if (this.#calls.statx(fd, this.#proc.empty, AT_EMPTY_PATH, STATX_MASK, this.#stat.address) < 0) return -errno();
    this.#state.mutex.lock();
    try {
      const known = this.find(ROOT_DEVICE);
      if (known >= 0) return known;
      const device = this.#place();
      if (device < 0) return -ENFILE;
      const type = this.#stat.mode & S_IFMT;
      // Only a directory or a file is opened: a device would do who knows what.
      const mount =
        type === S_IFDIR || type === S_IFREG ? this.#proc.reopen(fd, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
      this.set(device, mount);
      return device;
    } finally {
      this.#state.mutex.unlock();
    }
  }

  /** Counts one more node on the device; with the mutex held. @returns false when it was let go meanwhile */
  addNode(device: number): boolean {
    const at = this.#state.deviceAt(device);
    if (this.#words[at + Device.isUsed] !== USED) return false;
    this.#words[at + Device.nodes]!++;
    return true;
  }

  /** The same after a restart, for a node that is known; also on a mount that is lost. */
  recountNode(device: number): void {
    this.#words[this.#state.deviceAt(device) + Device.nodes]!++;
  }

  /** Counts one node less; with the mutex held. @returns a descriptor to close, -1 for none */
  removeNode(device: number): number {
    const words = this.#words;
    const at = this.#state.deviceAt(device);
    words[at + Device.nodes]!--;
    if (words[at + Device.nodes]! > 0 || device === ROOT_DEVICE) return -1;
    words[at + Device.isUsed] = 0;
    const fd = words[at + Device.fd]!;
    words[at + Device.fd] = -1;
    return fd;
  }

  /** Where to enter the device of the file in the stat scratch: where it was before a restart, or a free place; -1 for none. */
  #place(): number {
    let free = -1;
    for (let device = ROOT_DEVICE + 1; device < MAX_DEVICES; device++) {
      const at = this.#state.deviceAt(device);
      const use = this.#words[at + Device.isUsed];
      if (use === LOST && this.#isSameDevice(at)) return device;
      if (use === 0 && free < 0) free = device;
    }
    return free;
  }

  /** Enters the device of the file in the stat scratch. @param mountFd a descriptor on it, or -1 */
  set(device: number, mountFd: number): void {
    const at = this.#state.deviceAt(device);
    const { dv } = this.#stat;
    const words = this.#words;
    words[at + Device.mountLow] = dv.getInt32(Statx.mntId, true);
    words[at + Device.mountHigh] = dv.getInt32(Statx.mntId + 4, true);
    words[at + Device.major] = dv.getInt32(Statx.devMajor, true);
    words[at + Device.minor] = dv.getInt32(Statx.devMinor, true);
    words[at + Device.fd] = mountFd;
    const byHandle = this.#settings.handles !== "never" && this.#canOpenHandles(mountFd) ? BY_HANDLE : 0;
    words[at + Device.flags] = byHandle | (this.#isQuiet(mountFd) ? QUIET : 0);
    Atomics.store(words, at + Device.isUsed, USED);
  }

  #isQuiet(mountFd: number): boolean {
    const { address, bytes } = allocAligned(STATFS_BYTES);
    return this.#calls.fstatfs(mountFd, address) === 0 && QUIET_FILE_SYSTEMS.has(bytes.readUInt32LE(0));
  }

  /** Tries it: the file system must make handles, and the process may open them (CAP_DAC_READ_SEARCH). */
  #canOpenHandles(mountFd: number): boolean {
    if (mountFd < 0) return false;
    this.#handle.clear();
    const calls = this.#calls;
    if (calls.nameToHandleAt(mountFd, this.#proc.empty, this.#handle.address, this.#handle.mountId, AT_EMPTY_PATH) < 0)
      return false;
    if (!this.#handle.fits) return false;
    const fd = calls.openByHandleAt(mountFd, this.#handle.address, O_PATH | O_CLOEXEC);
    if (fd < 0) return false;
    calls.close(fd);
    return true;
  }

  /**
   * After a restart: descriptors are gone, and mounts may have other IDs. The export's is the one in the stat scratch; those
   * below are lost until somebody comes by again. Nodes are to be counted anew.
   * @param rootFd a new descriptor on the export
   * @returns false when the export is on another device
   */
  recover(rootFd: number): boolean {
    const words = this.#words;
    const root = this.#state.deviceAt(ROOT_DEVICE);
    if (!this.#isSameDevice(root)) return false;
    words[root + Device.nodes] = 0;
    for (let device = ROOT_DEVICE + 1; device < MAX_DEVICES; device++) {
      const at = this.#state.deviceAt(device);
      words[at + Device.fd] = -1;
      words[at + Device.nodes] = 0;
      if (words[at + Device.isUsed] === USED) words[at + Device.isUsed] = LOST;
    }
    this.set(ROOT_DEVICE, rootFd);
    return true;
  }

  #isSameDevice(at: number): boolean {
    const { dv } = this.#stat;
    return (
      this.#words[at + Device.minor] === dv.getInt32(Statx.devMinor, true) &&
      this.#words[at + Device.major] === dv.getInt32(Statx.devMajor, true)
    );
  }

  closeAll(): void {
    for (let device = 0; device < MAX_DEVICES; device++) {
      const at = this.#state.deviceAt(device);
      if (this.#words[at + Device.isUsed] === USED && this.#words[at + Device.fd]! >= 0)
        this.#calls.close(this.#words[at + Device.fd]!);
      this.#words[at + Device.isUsed] = 0;
    }
  }
}
