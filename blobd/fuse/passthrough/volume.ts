import { errno, type FileCalls, fileCalls, XattrAt } from "../../sys/index.ts";
import type { DaxWindow } from "../dax-window.ts";
import type { Caller } from "./caller.ts";
import type { Settings } from "./config.ts";
import { DataDescriptors } from "./data-descriptors.ts";
import { Devices } from "./devices.ts";
import { Batches } from "./directory.ts";
import { FileKind, Files } from "./files.ts";
import { HandleScratch } from "./handle.ts";
import type { PassthroughHooks } from "./hooks.ts";
import {
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
  ELOOP,
  ESTALE,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  STATX_MASK,
} from "./linux.ts";
import type { Locks } from "./locks.ts";
import { Nodes } from "./nodes.ts";
import { Proc } from "./proc.ts";
import { StatScratch, TimesScratch } from "./stat.ts";
import { State, type StateMemory } from "./state.ts";

/** Where the export is entered. */
export interface Entrance {
  readonly memory: StateMemory;
  /** The served directory, and /proc/self/fd. */
  readonly mountFd: number;
  readonly procFd: number;
}

/** What a thread works with: the mount's tables, and scratch memory of its own. */
export class Volume {
  readonly settings: Settings;
  readonly state: State;
  readonly calls: FileCalls = fileCalls();
  readonly stat = new StatScratch();
  /** Two `struct timespec`: access and modification. */
  readonly times = new TimesScratch();
  readonly handle = new HandleScratch();
  readonly batches = new Batches();
  readonly data = new DataDescriptors(this);
  readonly proc: Proc;
  readonly xattrs: XattrAt;
  readonly devices: Devices;
  readonly nodes: Nodes;
  readonly files: Files;
  readonly caller: Caller;
  readonly window: DaxWindow | undefined;
  readonly hooks: PassthroughHooks | undefined;
  /** Where locks hold on the host. */
  locks: Locks | undefined;
  /** The file that this thread created last: its node and its handle. */
  #newestNode = 0;
  #newestFile = 0;

  constructor(settings: Settings, entrance: Entrance, caller: Caller, window?: DaxWindow, hooks?: PassthroughHooks) {
    this.settings = settings;
    this.state = new State(entrance.memory);
    this.proc = new Proc(entrance.procFd);
    this.xattrs = new XattrAt(this.proc);
    this.devices = new Devices(this.state, this.stat, this.handle, this.proc, settings);
    this.nodes = new Nodes(this.state, this.devices, this.handle);
    this.hooks = hooks;
    this.files = new Files(this.state, hooks === undefined ? undefined : (fh) => hooks.release(fh));
    this.caller = caller;
    this.window = window;
  }

  /** The attributes of what `fd` is a descriptor of, into `stat`. @returns 0, or a negative error number */
  statOf(fd: number): number {
    return this.calls.statx(fd, this.proc.empty, AT_EMPTY_PATH, STATX_MASK, this.stat.address) < 0 ? -errno() : 0;
  }

  /**
   * Looks a name up in the directory `parent` (pinned) and counts a lookup of what it finds, whose attributes are in
   * `stat` then.
   * @param name address of a C string that is one component
   * @returns a slot; a negative error number
   */
  lookup(parent: number, name: number): number {
    const dir = this.nodes.fdOf(parent);
    if (dir < 0) return dir;
    const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    if (this.calls.statx(dir, name, flags, STATX_MASK, this.stat.address) < 0) return -errno();
    const { stat, devices, nodes } = this;
    const device = devices.find(nodes.deviceOf(parent));
    if (device < 0) return this.#lookupSlowly(parent, dir, name);
    const slot = nodes.hit(device, stat.inoLow, stat.inoHigh);
    if (slot !== 0) return slot;
    if (!devices.usesHandles(device)) return this.#lookupSlowly(parent, dir, name);
    const { handle } = this;
    handle.clear();
    if (this.calls.nameToHandleAt(dir, name, handle.address, handle.mountId, 0) < 0)
      return this.#lookupSlowly(parent, dir, name);
    if (!handle.fits || !handle.names(stat.inoLow)) return this.#lookupSlowly(parent, dir, name);
    const found = nodes.addByHandle(device, stat.inoLow, stat.inoHigh, stat.mode);
    if (found > 0) nodes.keepIfFew(found);
    return found;
  }

  /** The same by way of a descriptor, so that handle and attributes are surely the same file's. */
  #lookupSlowly(parent: number, dir: number, name: number): number {
    const fd = this.calls.openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0) return -errno();
    return this.adopt(this.nodes.deviceOf(parent), fd);
  }

  /**
   * Counts a lookup of what `fd` is an O_PATH descriptor of; the descriptor is taken over. Its attributes are in `stat`
   * then.
   * @param parentDevice the device it is most likely on
   * @returns a slot; a negative error number
   */
  adopt(parentDevice: number, fd: number): number {
    const status = this.statOf(fd);
    let device = status < 0 ? status : this.devices.find(parentDevice);
    if (device === -1 && status === 0) device = this.devices.add(fd);
    if (device < 0) {
      this.calls.close(fd);
      return device;
    }
    if (this.#handleOf(device, fd)) {
      const slot = this.nodes.addByHandle(device, this.stat.inoLow, this.stat.inoHigh, this.stat.mode);
      this.calls.close(fd);
      return slot;
    }
    return this.nodes.addByDescriptor(device, this.stat.inoLow, this.stat.inoHigh, this.stat.mode, fd);
  }

  /** The handle of the file behind any descriptor, into the scratch. @returns whether its device's nodes go by handles */
  #handleOf(device: number, fd: number): boolean {
    if (!this.devices.usesHandles(device)) return false;
    const { handle } = this;
    handle.clear();
    const status = this.calls.nameToHandleAt(fd, this.proc.empty, handle.address, handle.mountId, AT_EMPTY_PATH);
    return status === 0 && handle.fits;
  }

  /**
   * Counts a lookup of a file that was just created, or found, and is open as `fd`, which stays the caller's.
   * @returns a slot; a negative error number
   */
  enter(parentDevice: number, fd: number): number {
    const status = this.statOf(fd);
    if (status < 0) return status;
    const device = this.devices.find(parentDevice);
    if (device < 0) return -ESTALE;
    const { stat, nodes } = this;
    const known = nodes.hit(device, stat.inoLow, stat.inoHigh);
    if (known !== 0) return known;
    if (this.#handleOf(device, fd)) return nodes.addByHandle(device, stat.inoLow, stat.inoHigh, stat.mode);
    const path = this.proc.reopen(fd, O_PATH);
    return path < 0 ? path : nodes.addByDescriptor(device, stat.inoLow, stat.inoHigh, stat.mode, path);
  }

  /**
   * Opens a pinned node for its data. Only files and directories are: a device, a fifo or a socket would be the host's.
   * @returns a descriptor of the caller's; a negative error number
   */
  open(slot: number, flags: number): number {
    const type = this.nodes.typeOf(slot);
    if (type !== S_IFREG && type !== S_IFDIR) return -ELOOP;
    if (this.nodes.isByHandle(slot)) return this.nodes.openByHandle(slot, flags | O_NOFOLLOW);
    const fd = this.nodes.fdOf(slot);
    return fd < 0 ? fd : this.proc.reopen(fd, flags);
  }

  /** A file was created, and is open. */
  setNewest(nodeId: number, fh: number): void {
    this.#newestNode = nodeId;
    this.#newestFile = fh;
  }

  /**
   * What a program asks of a file that it has just created (its mode, its times) does not name the open file. Its descriptor
   * serves as long as it is open, which spares opening the node by its handle.
   * @returns the slot of the open file, pinned; 0 when this is another node or it is closed
   */
  pinNewest(nodeId: number): number {
    return nodeId === this.#newestNode ? this.files.pin(this.#newestFile, FileKind.FILE, nodeId) : 0;
  }

  /** Whether the file in `stat` is a directory. */
  get isDirectory(): boolean {
    return (this.stat.mode & S_IFMT) === S_IFDIR;
  }
}
