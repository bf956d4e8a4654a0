/** Helpers for tests; not part of the folder's door. */

import { getU53, setU53 } from "../../../formats/bytes/index.ts";
import {
  Attr,
  AttrOut,
  Dirent,
  direntBytes,
  direntplusBytes,
  EntryOut,
  InHeader,
  OpenOut,
  ReadIn,
  SetattrIn,
} from "../../../formats/fuse/index.ts";
import { allocAligned } from "../../sys/index.ts";
import type { FileSystem } from "../filesystem.ts";
import { FuseRequest, IN_ARGS, OUT_ARGS, type ParkedReply } from "../request.ts";

/** The error number of a call that was refused. */
export class Refused extends Error {
  readonly errno: number;
  constructor(errno: number) {
    super(`refused: errno ${errno}`);
    this.errno = errno;
  }
}

export interface Entry {
  readonly nodeId: number;
  readonly mode: number;
  readonly size: number;
  readonly ino: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly flags: number;
}
export interface Opened extends Entry {
  readonly fh: number;
}

const DATA_BYTES = 1 << 20;

/** Asks a file system's handlers as a server would, one request at a time. */
export class Client {
  readonly fs: FileSystem;
  readonly request = new FuseRequest();
  uid = 0;
  gid = 0;
  isRepeated = false;
  /** The next request is the last one, put back and handled anew. */
  isSameRequest = false;
  readonly #data = allocAligned(DATA_BYTES);
  /** What became of parked requests, in the order they were parked. */
  readonly parked: { unique: bigint; status: number | null }[] = [];
  #unique = 1n;

  constructor(fs: FileSystem) {
    this.fs = fs;
  }

  /** Fills the request; `args` are little-endian words of 32 bits, numbers of 64 bits as bigints. */
  fill(nodeId: number, args: readonly (number | bigint)[], ...names: readonly (string | Uint8Array)[]): FuseRequest {
    const r = this.request;
    let at = IN_ARGS;
    if (!this.isSameRequest) this.#unique++;
    r.in.setBigUint64(InHeader.at.unique, this.#unique, true);
    for (const arg of args)
      if (typeof arg === "bigint") {
        r.in.setBigUint64(at, BigInt.asUintN(64, arg), true);
        at += 8;
      } else {
        r.in.setUint32(at, arg >>> 0, true);
        at += 4;
      }
    const starts: [at: number, bytes: number][] = [];
    for (const name of names) {
      const bytes = typeof name === "string" ? Buffer.from(name) : name;
      r.input.bytes.set(bytes, at);
      r.input.bytes[at + bytes.length] = 0;
      starts.push([at, bytes.length]);
      at += bytes.length + 1;
    }
    [r.nameAt, r.nameBytes] = starts[0] ?? [0, 0];
    [r.secondNameAt, r.secondNameBytes] = starts[1] ?? [0, 0];
    r.inputBytes = at;
    r.extensionsAt = at;
    r.nodeId = nodeId;
    r.uid = this.uid;
    r.isRepeated = this.isRepeated;
    r.gid = this.gid;
    r.data.clear();
    r.room.clear();
    r.roomBytes = 0;
    r.outputBytes = 0;
    r.outputLimit = DATA_BYTES;
    r.park = () => {
      const entry = { unique: this.#unique, status: null as number | null };
      this.parked.push(entry);
      const finish = (status: number) => {
        entry.status = status;
      };
      return { unique: entry.unique, finish } satisfies ParkedReply;
    };
    return r;
  }

  /** @throws Refused for a negative status */
  done(status: number): number {
    if (status < 0) throw new Refused(-status);
    return status;
  }

  #entry(at: number, nodeId: number): Entry {
    const { out } = this.request;
    const u32 = (offset: number) => out.getUint32(at + offset, true);
    return {
      nodeId,
      mode: u32(Attr.at.mode),
      size: getU53(out, at + Attr.at.size, "size"),
      ino: getU53(out, at + Attr.at.ino, "ino"),
      uid: u32(Attr.at.uid),
      gid: u32(Attr.at.gid),
      nlink: u32(Attr.at.nlink),
      flags: u32(Attr.at.flags),
    };
  }
  #replied(): Entry {
    return this.#entry(OUT_ARGS + EntryOut.at.attr, getU53(this.request.out, OUT_ARGS, "nodeid"));
  }
  #fh(at: number): number {
    return getU53(this.request.out, at + OpenOut.at.fh, "fh");
  }

  lookup(parent: number, name: string | Uint8Array): Entry {
    this.done(this.fs.lookup(this.fill(parent, [], name)));
    return this.#replied();
  }
  forget(nodeId: number, lookups = 1): void {
    this.fs.forget(nodeId, lookups);
  }
  getattr(nodeId: number, fh?: number): Entry {
    this.done(this.fs.getattr!(this.fill(nodeId, [fh === undefined ? 0 : 1, 0, BigInt(fh ?? 0)])));
    return this.#entry(OUT_ARGS + AttrOut.at.attr, nodeId);
  }
  setattr(nodeId: number, valid: number, values: Partial<Record<keyof typeof SetattrIn.at, number>>): Entry {
    const r = this.fill(nodeId, new Array(SetattrIn.size / 4).fill(0));
    const view = SetattrIn.view(r.input.bytes, IN_ARGS) as unknown as Record<string, number>;
    Object.assign(view, values);
    view.valid = valid;
    this.done(this.fs.setattr!(r));
    return this.#entry(OUT_ARGS + AttrOut.at.attr, nodeId);
  }
  mkdir(parent: number, name: string, mode = 0o755): Entry {
    this.done(this.fs.mkdir!(this.fill(parent, [mode, 0o022], name)));
    return this.#replied();
  }
  mknod(parent: number, name: string, mode: number, rdev = 0): Entry {
    this.done(this.fs.mknod!(this.fill(parent, [mode, rdev, 0o022, 0], name)));
    return this.#replied();
  }
  symlink(parent: number, name: string, target: string): Entry {
    this.done(this.fs.symlink!(this.fill(parent, [], name, target)));
    return this.#replied();
  }
  readlink(nodeId: number): string {
    this.done(this.fs.readlink!(this.fill(nodeId, [])));
    return this.request.output.bytes.toString("latin1", OUT_ARGS, OUT_ARGS + this.request.outputBytes);
  }
  unlink(parent: number, name: string): void {
    this.done(this.fs.unlink!(this.fill(parent, [], name)));
  }
  rmdir(parent: number, name: string): void {
    this.done(this.fs.rmdir!(this.fill(parent, [], name)));
  }
  rename(parent: number, name: string, newParent: number, newName: string, flags = 0): void {
    this.done(this.fs.rename!(this.fill(parent, [BigInt(newParent), flags, 0], name, newName), flags));
  }
  link(nodeId: number, parent: number, name: string): Entry {
    this.done(this.fs.link!(this.fill(parent, [BigInt(nodeId)], name)));
    return this.#replied();
  }
  open(nodeId: number, flags: number, openFlags = 0): number {
    this.done(this.fs.open!(this.fill(nodeId, [flags, openFlags])));
    return this.#fh(OUT_ARGS);
  }
  create(parent: number, name: string, flags: number, mode = 0o644): Opened {
    this.done(this.fs.create!(this.fill(parent, [flags, mode, 0o022, 0], name)));
    return { ...this.#replied(), fh: this.#fh(OUT_ARGS + EntryOut.size) };
  }
  tmpfile(parent: number, flags: number, mode = 0o600): Opened {
    this.done(this.fs.tmpfile!(this.fill(parent, [flags, mode, 0o022, 0], "#")));
    return { ...this.#replied(), fh: this.#fh(OUT_ARGS + EntryOut.size) };
  }
  read(nodeId: number, fh: number, offset: number, bytes: number): Buffer {
    const r = this.fill(nodeId, [BigInt(fh), BigInt(offset), bytes, 0, 0n, 0, 0]);
    r.room.add(this.#data.address, Math.min(bytes, DATA_BYTES));
    this.done(this.fs.read!(r));
    return Buffer.from(this.#data.bytes.subarray(0, r.roomBytes));
  }
  write(nodeId: number, fh: number, offset: number, data: Uint8Array, writeFlags = 0): number {
    const r = this.fill(nodeId, [BigInt(fh), BigInt(offset), data.length, writeFlags, 0n, 0, 0]);
    this.#data.bytes.set(data);
    r.data.add(this.#data.address, data.length);
    this.done(this.fs.write!(r));
    return r.out.getUint32(OUT_ARGS, true);
  }
  release(nodeId: number, fh: number): void {
    this.done(this.fs.release!(this.fill(nodeId, [BigInt(fh), 0, 0, 0n])));
  }
  setxattr(nodeId: number, name: string, value: Uint8Array, flags = 0): void {
    const r = this.fill(nodeId, [value.length, flags, 0, 0], name);
    r.input.bytes.set(value, r.inputBytes);
    r.inputBytes += value.length;
    r.extensionsAt = r.inputBytes;
    this.done(this.fs.setxattr!(r));
  }
  getxattr(nodeId: number, name: string, bytes = 65536): Buffer {
    this.done(this.fs.getxattr!(this.fill(nodeId, [bytes, 0], name)));
    return this.reply();
  }
  listxattr(nodeId: number, bytes = 65536): string[] {
    this.done(this.fs.listxattr!(this.fill(nodeId, [bytes, 0])));
    return this.reply().toString("latin1").split("\0").slice(0, -1).sort();
  }
  removexattr(nodeId: number, name: string): void {
    this.done(this.fs.removexattr!(this.fill(nodeId, [], name)));
  }
  /** The reply's bytes behind its header. */
  reply(): Buffer {
    const { output, outputBytes } = this.request;
    return Buffer.from(output.bytes.subarray(OUT_ARGS, OUT_ARGS + outputBytes));
  }
  setupMapping(nodeId: number, fileOffset: number, windowOffset: number, bytes = 2 << 20): number {
    const args = [-1n, BigInt(fileOffset), BigInt(bytes), 3n, BigInt(windowOffset)];
    return this.done(this.fs.setupMapping!(this.fill(nodeId, args)));
  }
  removeMapping(nodeId: number, ranges: readonly (readonly [offset: number, bytes: number])[]): number {
    const words = ranges.flatMap(([offset, bytes]) => [offset, 0, bytes, 0]);
    return this.done(this.fs.removeMapping!(this.fill(nodeId, [ranges.length, ...words])));
  }
  fallocate(nodeId: number, fh: number, mode: number, offset: number, bytes: number): void {
    this.done(this.fs.fallocate!(this.fill(nodeId, [BigInt(fh), BigInt(offset), BigInt(bytes), mode, 0])));
  }
  copyFileRange(
    from: readonly [nodeId: number, fh: number, offset: number],
    to: readonly [nodeId: number, fh: number, offset: number],
    bytes: number,
  ): number {
    const args = [BigInt(from[1]), BigInt(from[2]), BigInt(to[0]), BigInt(to[1]), BigInt(to[2]), BigInt(bytes), 0n];
    this.done(this.fs.copyFileRange!(this.fill(from[0], args)));
    return this.request.out.getUint32(OUT_ARGS, true);
  }
  lseek(nodeId: number, fh: number, offset: number, whence: number): number {
    this.done(this.fs.lseek!(this.fill(nodeId, [BigInt(fh), BigInt(offset), whence, 0])));
    return getU53(this.request.out, OUT_ARGS, "offset");
  }
  /** @param type 0 for reading, 1 for writing, 2 to unlock @returns 0, or PARKED */
  setlk(
    nodeId: number,
    fh: number,
    owner: bigint,
    type: number,
    options: { start?: bigint; end?: bigint; wait?: boolean; flock?: boolean } = {},
  ): number {
    const { start = 0n, end = 0x7fff_ffff_ffff_ffffn, wait = false, flock = false } = options;
    const r = this.fill(nodeId, [BigInt(fh), owner, start, end, type, 1, flock ? 1 : 0, 0]);
    return this.done(this.fs.setlk!(r, wait));
  }
  /** @returns the type of the lock that is in the way; 2 for none */
  getlk(nodeId: number, fh: number, owner: bigint, type: number, start = 0n, end = 0x7fff_ffff_ffff_ffffn): number {
    this.done(this.fs.getlk!(this.fill(nodeId, [BigInt(fh), owner, start, end, type, 1, 0, 0])));
    return this.request.out.getUint32(OUT_ARGS + 16, true);
  }
  flush(nodeId: number, fh: number, owner = 0n): void {
    this.done(this.fs.flush!(this.fill(nodeId, [BigInt(fh), 0, 0, owner])));
  }
  get lastUnique(): bigint {
    return this.#unique;
  }
  opendir(nodeId: number): number {
    this.done(this.fs.opendir!(this.fill(nodeId, [0, 0])));
    return this.#fh(OUT_ARGS);
  }
  releasedir(nodeId: number, fh: number): void {
    this.done(this.fs.releasedir!(this.fill(nodeId, [BigInt(fh), 0, 0, 0n])));
  }
  /** One reply: names, and node IDs where they are told. */
  readdirOnce(
    nodeId: number,
    fh: number,
    offset: bigint,
    bytes: number,
    plus: boolean,
  ): { name: string; off: bigint; nodeId: number }[] {
    const r = this.fill(nodeId, new Array(ReadIn.size / 4).fill(0));
    setU53(r.in, IN_ARGS + ReadIn.at.fh, fh);
    r.in.setBigUint64(IN_ARGS + ReadIn.at.offset, offset, true);
    r.in.setUint32(IN_ARGS + ReadIn.at.size, bytes, true);
    this.done(this.fs.readdir!(r, plus));
    const entries = [];
    for (let at = OUT_ARGS; at < OUT_ARGS + r.outputBytes; ) {
      const dirent = plus ? at + EntryOut.size : at;
      const length = r.out.getUint32(dirent + Dirent.at.namelen, true);
      entries.push({
        name: r.output.bytes.toString("latin1", dirent + Dirent.size, dirent + Dirent.size + length),
        off: r.out.getBigUint64(dirent + Dirent.at.off, true),
        nodeId: plus ? getU53(r.out, at, "nodeid") : 0,
      });
      at += plus ? direntplusBytes(length) : direntBytes(length);
    }
    return entries;
  }
  /** All names but the dots, sorted. */
  list(nodeId: number, options: { bytes?: number; plus?: boolean } = {}): string[] {
    const { bytes = 4096, plus = false } = options;
    const fh = this.opendir(nodeId);
    const names: string[] = [];
    for (let offset = 0n; ; ) {
      const entries = this.readdirOnce(nodeId, fh, offset, bytes, plus);
      if (entries.length === 0) break;
      for (const entry of entries) {
        if (entry.name !== "." && entry.name !== "..") names.push(entry.name);
        if (entry.nodeId !== 0) this.forget(entry.nodeId);
        offset = entry.off;
      }
    }
    this.releasedir(nodeId, fh);
    return names.sort();
  }
}

/** Runs something that must be refused, and tells by which error number; 0 when it was not. */
export function refusal(run: () => unknown): number {
  try {
    run();
    return 0;
  } catch (error) {
    if (error instanceof Refused) return error.errno;
    throw error;
  }
}
