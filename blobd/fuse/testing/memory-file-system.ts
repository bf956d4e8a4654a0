import { constants } from "node:os";
import { getU53, setU53 } from "../../../formats/bytes/index.ts";
import { Attr, OpenReplyFlag, ReadIn, SetattrFlag, SetattrIn, WriteIn } from "../../../formats/fuse/index.ts";
import { SysError } from "../../sys/index.ts";
import { koffi } from "../../sys/koffi.ts";
import {
  DirentWriter,
  type FileSystem,
  type FuseRequest,
  IN_ARGS,
  PARKED,
  type ParkedReply,
  replyAttr,
  replyEntry,
  replyOpen,
  replyWritten,
  type Validity,
} from "../index.ts";

const { EEXIST, EINTR, ENOENT, ENOTDIR, EISDIR, ENOTEMPTY } = constants.errno;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const DT_DIR = 4;
const DT_REG = 8;
/** Files of this size at most, in bytes. */
const MAX_FILE_BYTES = 64 << 20;

interface Node {
  readonly id: number;
  readonly mode: number;
  readonly children: Map<string, Node> | null;
  content: Buffer;
  size: number;
}

/**
 * A small file system in memory, for one thread: enough to try a server and a transport without any other file system.
 *
 * A file called `wait` parks whoever opens it until it is interrupted or `wake` is called; one called `crash` makes its
 * handler throw.
 */
export class MemoryFileSystem implements FileSystem {
  readonly nodes = new Map<number, Node>();
  /** What was forgotten: node ID and lookups. */
  readonly forgotten: (readonly [number, number])[] = [];
  /** How often the mount ended. */
  destroyed = 0;
  readonly parked = new Map<bigint, ParkedReply>();
  isAwake = false;
  flags = 0;
  flags2 = 0;
  validity: Validity = { seconds: 0, nanos: 0 };
  openFlags: number = OpenReplyFlag.KEEP_CACHE;
  readonly #dirents = new DirentWriter();
  #nextId = 2;

  constructor() {
    this.nodes.set(1, { id: 1, mode: S_IFDIR | 0o755, children: new Map(), content: Buffer.alloc(0), size: 0 });
  }

  init() {
    return { flags: this.flags, flags2: this.flags2 };
  }
  destroy() {
    this.destroyed++;
  }
  forget(nodeId: number, lookups: number) {
    this.forgotten.push([nodeId, lookups]);
  }

  lookup(request: FuseRequest): number {
    const child = this.#children(request)?.get(nameOf(request));
    return child === undefined ? -ENOENT : this.#entry(request, child);
  }
  getattr(request: FuseRequest): number {
    const node = this.nodes.get(request.nodeId);
    if (node === undefined) return -ENOENT;
    this.#attr(request, replyAttr(request, this.validity), node);
    return 0;
  }
  setattr(request: FuseRequest): number {
    const node = this.nodes.get(request.nodeId);
    if (node === undefined) return -ENOENT;
    if ((request.in.getUint32(IN_ARGS + SetattrIn.at.valid, true) & SetattrFlag.SIZE) !== 0)
      resize(node, getU53(request.in, IN_ARGS + SetattrIn.at.size, "size"));
    return this.getattr(request);
  }
  mkdir(request: FuseRequest): number {
    return this.#make(request, S_IFDIR | 0o755);
  }
  create(request: FuseRequest): number {
    if (nameOf(request) === "crash") throw new TypeError("a mistake in a handler");
    const status = this.#make(request, S_IFREG | 0o644);
    return status < 0 ? status : replyOpen(request, 0, this.openFlags);
  }
  mknod(request: FuseRequest): number {
    return this.#make(request, S_IFREG | 0o644);
  }
  unlink(request: FuseRequest): number {
    const children = this.#children(request);
    const child = children?.get(nameOf(request));
    if (children === null || children === undefined || child === undefined) return -ENOENT;
    if (child.children !== null && child.children.size > 0) return -ENOTEMPTY;
    children.delete(nameOf(request));
    return 0;
  }
  rmdir(request: FuseRequest): number {
    return this.unlink(request);
  }
  open(request: FuseRequest): number {
    const node = this.nodes.get(request.nodeId);
    if (node === undefined) return -ENOENT;
    if (this.isAwake || node !== this.nodes.get(1)?.children?.get("wait")) return replyOpen(request, 0, this.openFlags);
    const reply = request.park();
    this.parked.set(reply.unique, reply);
    return PARKED;
  }
  interrupt(unique: bigint): void {
    this.#finish(unique, -EINTR);
  }
  /** Nobody parks any more: what is parked is handled again. */
  wakeAgain(): void {
    this.isAwake = true;
    const replies = [...this.parked.values()];
    this.parked.clear();
    for (const reply of replies) reply.again!();
  }
  /** Answers all that is parked. */
  wake(status: number): void {
    for (const unique of [...this.parked.keys()]) this.#finish(unique, status);
  }
  read(request: FuseRequest): number {
    const node = this.nodes.get(request.nodeId);
    if (node === undefined) return -ENOENT;
    if (node.children !== null) return -EISDIR;
    let at = getU53(request.in, IN_ARGS + ReadIn.at.offset, "offset");
    for (let i = 0; i < request.room.count && at < node.size; i++) {
      const bytes = Math.min(request.room.bytesOf(i), node.size - at);
      const into = Buffer.from(koffi().view(request.room.addressOf(i), bytes));
      node.content.copy(into, 0, at, at + bytes);
      at += bytes;
      request.roomBytes += bytes;
    }
    return 0;
  }
  write(request: FuseRequest): number {
    const node = this.nodes.get(request.nodeId);
    if (node === undefined) return -ENOENT;
    let at = getU53(request.in, IN_ARGS + WriteIn.at.offset, "offset");
    if (at + request.data.bytes > MAX_FILE_BYTES) return -constants.errno.EFBIG;
    if (at + request.data.bytes > node.size) resize(node, at + request.data.bytes);
    for (let i = 0; i < request.data.count; i++) {
      const bytes = request.data.bytesOf(i);
      Buffer.from(koffi().view(request.data.addressOf(i), bytes)).copy(node.content, at);
      at += bytes;
    }
    return replyWritten(request, request.data.bytes);
  }
  opendir(request: FuseRequest): number {
    return this.#children(request) === null ? -ENOTDIR : replyOpen(request, 0, 0);
  }
  readdir(request: FuseRequest, plus: boolean): number {
    const children = this.#children(request);
    if (children === null) return -ENOTDIR;
    this.#dirents.start(request, plus);
    let index = 0;
    const from = getU53(request.in, IN_ARGS + ReadIn.at.offset, "offset");
    for (const [text, node] of children) {
      if (index++ < from) continue;
      const name = Buffer.from(text, "latin1");
      if (!this.#dirents.fits(name.length)) break;
      this.#dirents.add(node.id, index, 0, node.children === null ? DT_REG : DT_DIR, name, 0, name.length);
    }
    return 0;
  }

  /** Removes all but the root. */
  clear(): void {
    const root = this.nodes.get(1)!;
    this.nodes.clear();
    this.nodes.set(1, root);
    root.children!.clear();
  }

  /** Adds an empty file to the root. @returns its node ID */
  add(name: string): number {
    const node: Node = { id: this.#nextId++, mode: S_IFREG | 0o644, children: null, content: Buffer.alloc(0), size: 0 };
    this.nodes.set(node.id, node);
    this.nodes.get(1)!.children!.set(name, node);
    return node.id;
  }

  #children(request: FuseRequest): Map<string, Node> | null {
    return this.nodes.get(request.nodeId)?.children ?? null;
  }
  #make(request: FuseRequest, mode: number): number {
    const children = this.#children(request);
    if (children === null) return -ENOTDIR;
    const name = nameOf(request);
    if (children.has(name)) return -EEXIST;
    const id = this.#nextId++;
    const isDirectory = (mode & S_IFDIR) !== 0;
    const node = { id, mode, children: isDirectory ? new Map() : null, content: Buffer.alloc(0), size: 0 };
    this.nodes.set(id, node);
    children.set(name, node);
    return this.#entry(request, node);
  }
  #entry(request: FuseRequest, node: Node): number {
    this.#attr(request, replyEntry(request, node.id, 0, this.validity, this.validity), node);
    return 0;
  }
  #attr({ out }: FuseRequest, at: number, node: Node): void {
    for (let i = 0; i < Attr.size; i += 4) out.setUint32(at + i, 0, true);
    setU53(out, at + Attr.at.ino, node.id);
    setU53(out, at + Attr.at.size, node.size);
    out.setUint32(at + Attr.at.mode, node.mode, true);
    out.setUint32(at + Attr.at.nlink, 1, true);
    out.setUint32(at + Attr.at.blksize, 4096, true);
  }
  #finish(unique: bigint, status: number): void {
    const reply = this.parked.get(unique);
    this.parked.delete(unique);
    reply?.finish(status);
  }
}

/** The first name, a byte a character. */
function nameOf(request: FuseRequest): string {
  return request.input.bytes.toString("latin1", request.nameAt, request.nameAt + request.nameBytes);
}

function resize(node: Node, size: number): void {
  if (size > MAX_FILE_BYTES) throw new SysError("ftruncate", "EFBIG", constants.errno.EFBIG);
  if (size > node.content.length) {
    const grown = Buffer.alloc(Math.min(MAX_FILE_BYTES, Math.max(size, node.content.length * 2)));
    node.content.copy(grown);
    node.content = grown;
  }
  if (size < node.size) node.content.fill(0, size, node.size);
  node.size = size;
}

/** For mounts: each thread would get its own, so it is for one thread. */
export function openMemoryFileSystem(): MemoryFileSystem {
  return new MemoryFileSystem();
}

/**
 * For several threads: a folder with two files. Opening `together` waits until as many threads do as there are; opening
 * `hang` waits for ever.
 * @param shared 4 bytes, zero
 */
export function openThreadFileSystem(shared: SharedArrayBuffer, threads: number): FileSystem {
  const fileSystem = new MemoryFileSystem();
  const [together] = ["together", "hang"].map((name) => fileSystem.add(name));
  const waiting = new Int32Array(shared);
  fileSystem.open = (request) => {
    if (request.nodeId !== together) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    Atomics.add(waiting, 0, 1);
    Atomics.notify(waiting, 0);
    for (;;) {
      const count = Atomics.load(waiting, 0);
      if (count >= threads) break;
      Atomics.wait(waiting, 0, count);
    }
    return replyOpen(request, 0, 0);
  };
  return fileSystem;
}

/**
 * What the kernel may cache for an hour: a file `version` that holds the number in `shared` as a digit; it is gone when
 * that is 0.
 */
export function openCachedFileSystem(shared: SharedArrayBuffer): FileSystem {
  const fileSystem = new MemoryFileSystem();
  fileSystem.validity = { seconds: 3600, nanos: 0 };
  const node = fileSystem.nodes.get(fileSystem.add("version"))!;
  node.content = Buffer.alloc(1);
  node.size = 1;
  const version = () => Atomics.load(new Int32Array(shared), 0);
  const { read, lookup } = MemoryFileSystem.prototype;
  fileSystem.read = (request) => {
    node.content.write(String(version()));
    return read.call(fileSystem, request);
  };
  fileSystem.lookup = (request) => (version() === 0 ? -ENOENT : lookup.call(fileSystem, request));
  return fileSystem;
}
