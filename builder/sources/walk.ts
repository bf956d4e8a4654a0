/** A directory tree as the entries of a tar, in an order that depends on nothing but the names. */
import * as fs from "node:fs";
import { setImmediate } from "node:timers/promises";
import { ioError, SourceError } from "../../blobd/registry/index.ts";
import { listXattrs, SysError } from "../../blobd/sys/index.ts";
import { type ByteString, fromBytes, fromText, toBytes, toText } from "../../formats/bytes/index.ts";
import { type EntrySink, type EntryType, NO_XATTRS, type TarEntry } from "../../formats/tar/index.ts";
import type { Xattr } from "../../formats/tree/index.ts";

export interface WalkOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told after every directory: bytes of file data read so far. */
  readonly onProgress?: ((readBytes: number) => void) | undefined;
  /** Awaited at least once a MiB of file data: for a sink that writes in the background. */
  readonly drain?: (() => Promise<void>) | undefined;
}

/** Read and handed on at once. */
const CHUNK_BYTES = 1 << 20;
/** The walk is made of synchronous calls; so often it lets timers and signals in. */
const BREATH_MS = 50;
const NANOS = 1_000_000_000n;
// A file that turned into a link or a fifo since it was looked at is neither followed nor waited for.
const READ_FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

/**
 * Feeds a directory to a sink: itself first (as `./`), every directory before what is in it, names in byte order. Hard
 * links inside the tree come as such: the first name is the file. Sockets are left out, as tar does. Sparse files are
 * given in full. Names keep the meaning they have in a layer: a file called `.wh.x` is a whiteout.
 *
 * @returns the bytes of file data read
 * @throws SourceError ERR_NOT_FOUND, ERR_IO (also when a file changes while it is read); and whatever the sink throws
 */
export async function walkDirectory(root: string, sink: EntrySink, options: WalkOptions = {}): Promise<number> {
  const walk = new Walk(fromText(root), sink, options);
  if (!(await walk.emit("./"))) throw new SourceError("ERR_BAD_SOURCE", `${root}: is not a directory`);
  const open = [{ path: "", names: walk.names(""), next: 0 }];
  for (let dir = open.at(-1); dir !== undefined; dir = open.at(-1)) {
    if (dir.next === dir.names.length) {
      open.pop();
      options.onProgress?.(walk.readBytes);
      continue;
    }
    const path = dir.path + dir.names[dir.next++]!;
    if (await walk.emit(path)) open.push({ path: `${path}/`, names: walk.names(path), next: 0 });
  }
  return walk.readBytes;
}

class Walk {
  readonly #root: ByteString;
  readonly #sink: EntrySink;
  /** Files with more than one name, by device and inode number. */
  readonly #seen = new Map<string, ByteString>();
  readonly #buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  readonly #options: WalkOptions;
  #breathMs = Date.now();
  /** `readBytes` at the last breath. */
  #breathBytes = 0;
  readBytes = 0;

  constructor(root: ByteString, sink: EntrySink, options: WalkOptions) {
    this.#root = root;
    this.#sink = sink;
    this.#options = options;
  }

  /** What is in a directory, in byte order. */
  names(path: ByteString): ByteString[] {
    const names = this.#try(path, (file) => fs.readdirSync(file, { encoding: "buffer" }));
    return names.map((name) => fromBytes(name)).sort();
  }

  /** Feeds one file, with its data. Returns whether it is a directory. */
  async emit(path: ByteString): Promise<boolean> {
    const stat = this.#try(path, (file) => fs.lstatSync(file, { bigint: true }));
    const type = entryType(stat);
    if (type === undefined) return false;
    const first = type !== "directory" && stat.nlink > 1n ? this.#firstName(path, stat) : undefined;
    if (first !== undefined) this.#sink.entry(tarEntry(path, "hardlink", stat, first, NO_XATTRS));
    else {
      const target =
        type === "symlink" ? this.#try(path, (file) => fs.readlinkSync(file, { encoding: "buffer" })) : null;
      const xattrs = this.#try(path, listXattrs);
      this.#sink.entry(tarEntry(path, type, stat, target ? fromBytes(target) : "", xattrs));
      if (type === "file" && stat.size > 0n) await this.#data(path, stat);
    }
    this.#sink.endEntry();
    await this.#breathe();
    return type === "directory";
  }

  /** Lets the event loop and the sink's background work on, when it is time. */
  async #breathe(): Promise<void> {
    const isLate = Date.now() - this.#breathMs >= BREATH_MS;
    if (!isLate && this.readBytes - this.#breathBytes < CHUNK_BYTES) return;
    const { signal, drain } = this.#options;
    await drain?.();
    this.#breathBytes = this.readBytes;
    if (!isLate) return;
    await setImmediate();
    signal?.throwIfAborted();
    this.#breathMs = Date.now();
  }

  #firstName(path: ByteString, { dev, ino }: fs.BigIntStats): ByteString | undefined {
    const key = `${dev}:${ino}`;
    const first = this.#seen.get(key);
    if (first === undefined) this.#seen.set(key, path);
    return first;
  }

  async #data(path: ByteString, stat: fs.BigIntStats): Promise<void> {
    const fd = this.#try(path, (file) => fs.openSync(file, READ_FLAGS));
    try {
      const now = this.#try(path, () => fs.fstatSync(fd, { bigint: true }));
      if (now.dev !== stat.dev || now.ino !== stat.ino || now.size !== stat.size) throw this.#changed(path);
      for (let left = Number(stat.size); left > 0; ) {
        const got = this.#try(path, () => fs.readSync(fd, this.#buffer, 0, Math.min(CHUNK_BYTES, left), null));
        if (got === 0) throw this.#changed(path);
        left -= got;
        this.readBytes += got;
        this.#sink.data(this.#buffer, 0, got);
        if (left > 0) await this.#breathe();
      }
    } finally {
      fs.closeSync(fd);
    }
  }

  #try<T>(path: ByteString, call: (file: Buffer) => T): T {
    const file = `${this.#root}/${path}`;
    try {
      return call(toBytes(file));
    } catch (error) {
      if (error instanceof SysError)
        throw new SourceError("ERR_IO", `${toText(file)}: ${error.message}`, { cause: error });
      throw ioError(toText(file), error);
    }
  }

  #changed(path: ByteString): SourceError {
    return new SourceError("ERR_IO", `${toText(`${this.#root}/${path}`)}: changed while it was read`);
  }
}

function entryType(stat: fs.BigIntStats): EntryType | undefined {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isCharacterDevice()) return "char";
  if (stat.isBlockDevice()) return "block";
  return stat.isFIFO() ? "fifo" : undefined;
}

function tarEntry(
  path: ByteString,
  type: EntryType,
  stat: fs.BigIntStats,
  linkPath: ByteString,
  xattrs: readonly Xattr[],
): TarEntry {
  const isDevice = type === "char" || type === "block";
  const { rdev } = stat;
  // BigInt division rounds to zero, times before 1970 are rounded down.
  const nanos = ((stat.mtimeNs % NANOS) + NANOS) % NANOS;
  return {
    type,
    path,
    linkPath,
    mode: Number(stat.mode & 0o7777n),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: type === "file" ? Number(stat.size) : 0,
    mtimeSeconds: Number((stat.mtimeNs - nanos) / NANOS),
    mtimeNanos: Number(nanos),
    // glibc's encoding of device numbers, sys/sysmacros.h.
    devMajor: isDevice ? Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)) : 0,
    devMinor: isDevice ? Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)) : 0,
    xattrs,
    sparse: null,
    headerOffset: 0,
  };
}
