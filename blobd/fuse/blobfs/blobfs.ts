import { constants } from "node:os";
import { getU53, setU53 } from "../../../formats/bytes/index.ts";
import { Attr, AttrFlag, InitFlag, InitFlag2, Kstatfs, LseekIn, ReadIn, ROOT_ID } from "../../../formats/fuse/index.ts";
import { errno, fileCalls, PAGE_SIZE, readFully, viewMemory } from "../../sys/index.ts";
import { decodeSetup, removeMappings } from "../dax-requests.ts";
import { type DaxWindow, RANGE_BYTES } from "../dax-window.ts";
import { DirentWriter } from "../dirents.ts";
import type { FileSystem, WantedInit } from "../filesystem.ts";
import { MappingPieces } from "../mapping-pieces.ts";
import { replyAttr, replyEntry, replyOffset, type Validity } from "../replies.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import type { BlobsConfig } from "./config.ts";
import type { BlobsShared } from "./shared.ts";

const { EIO, EISDIR, EINVAL, ENODEV, ENOENT, ENOTDIR, ENXIO, EROFS, ESTALE } = constants.errno;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const DT_REG = 8;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
/** Node ID of the first file. */
const FIRST_ID = ROOT_ID + 1;
/** Unit of `blocks` in attributes, in bytes. */
const SECTOR_BYTES = 512;
const FOREVER: Validity = { seconds: 365 * 86_400, nanos: 0 };

/**
 * An image's files, by name in one directory, for a guest that mounts EROFS itself: as files, or through loop devices. They
 * never change; a file's node ID is its place. There is no OPEN, as in imagefs.
 */
class BlobFiles implements FileSystem {
  readonly #files: BlobsShared["files"];
  /** By name, as latin1 text of its bytes. */
  readonly #byName = new Map<string, number>();
  readonly #names: readonly Buffer[];
  readonly #window: DaxWindow | undefined;
  readonly #dirents = new DirentWriter();
  readonly #pieces = new MappingPieces();
  readonly #asked = { fileOffset: 0, windowOffset: 0 };

  constructor(config: BlobsConfig, { files }: BlobsShared, window: DaxWindow | undefined) {
    this.#files = files;
    this.#names = files.map(({ name }) => Buffer.from(name));
    for (const [index, name] of this.#names.entries()) this.#byName.set(name.toString("latin1"), index);
    this.#window = config.daxTrusted === true && (config.dax ?? "never") !== "never" ? window : undefined;
  }

  init(): WantedInit {
    return {
      flags:
        InitFlag.DO_READDIRPLUS |
        InitFlag.READDIRPLUS_AUTO |
        InitFlag.NO_OPEN_SUPPORT |
        InitFlag.NO_OPENDIR_SUPPORT |
        InitFlag.EXPORT_SUPPORT,
      flags2: this.#window === undefined ? 0 : InitFlag2.HAS_INODE_DAX,
    };
  }
  destroy(): void {
    this.#window?.removeAll();
  }
  forget(): void {}

  lookup(request: FuseRequest): number {
    const { nameAt, nameBytes, nodeId } = request;
    const name = request.input.bytes.toString("latin1", nameAt, nameAt + nameBytes);
    if (name === ".") return this.#reply(request, nodeId - FIRST_ID);
    if (nodeId !== ROOT_ID) return -ENOTDIR;
    if (name === "..") return this.#reply(request, ROOT_ID - FIRST_ID);
    const index = this.#byName.get(name);
    return index === undefined ? -ENOENT : this.#reply(request, index);
  }
  #reply(request: FuseRequest, index: number): number {
    if (!this.#isThere(index)) return -ESTALE;
    this.#putAttr(request, replyEntry(request, index + FIRST_ID, 0, FOREVER, FOREVER), index);
    return 0;
  }

  getattr(request: FuseRequest): number {
    const index = request.nodeId - FIRST_ID;
    if (!this.#isThere(index)) return -ESTALE;
    this.#putAttr(request, replyAttr(request, FOREVER), index);
    return 0;
  }

  read(request: FuseRequest): number {
    const file = this.#files[request.nodeId - FIRST_ID];
    if (file === undefined) return request.nodeId === ROOT_ID ? -EISDIR : -ESTALE;
    const offset = getU53(request.in, IN_ARGS + ReadIn.at.offset, "fuse_read_in.offset");
    const { room } = request;
    room.truncate(Math.max(0, file.size - offset));
    if (room.bytes === 0) return 0;
    const calls = fileCalls();
    const count =
      room.count === 1
        ? calls.pread(file.fd, room.addressOf(0), room.bytes, offset)
        : calls.preadv(file.fd, room.address, room.count, offset);
    if (count < 0) return -errno();
    // A file that has become shorter is damage, not an end.
    if (count === 0) return -EIO;
    request.roomBytes = count;
    return 0;
  }

  readdir(request: FuseRequest, plus: boolean): number {
    if (request.nodeId !== ROOT_ID) return -ENOTDIR;
    const from = getU53(request.in, IN_ARGS + ReadIn.at.offset, "fuse_read_in.offset");
    this.#dirents.start(request, plus);
    for (let index = from; index < this.#files.length; index++) {
      const name = this.#names[index]!;
      if (!this.#dirents.fits(name.length)) break;
      this.#dirents.add(index + FIRST_ID, index + 1, 0, DT_REG, name, 0, name.length);
    }
    return 0;
  }

  lseek(request: FuseRequest): number {
    const file = this.#files[request.nodeId - FIRST_ID];
    if (file === undefined) return -EINVAL;
    const offset = getU53(request.in, IN_ARGS + LseekIn.at.offset, "fuse_lseek_in.offset");
    const whence = request.in.getUint32(IN_ARGS + LseekIn.at.whence, true);
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return -EINVAL;
    if (offset >= file.size) return -ENXIO;
    // All is data, which is never wrong.
    return replyOffset(request, whence === SEEK_DATA ? offset : file.size);
  }

  statfs(request: FuseRequest): number {
    request.output.bytes.fill(0, OUT_ARGS, OUT_ARGS + Kstatfs.size);
    const blocks = this.#files.reduce((sum, { size }) => sum + Math.ceil(size / PAGE_SIZE), 0);
    setU53(request.out, OUT_ARGS + Kstatfs.at.blocks, blocks);
    setU53(request.out, OUT_ARGS + Kstatfs.at.files, this.#files.length + 1);
    request.out.setUint32(OUT_ARGS + Kstatfs.at.bsize, PAGE_SIZE, true);
    request.out.setUint32(OUT_ARGS + Kstatfs.at.frsize, PAGE_SIZE, true);
    request.out.setUint32(OUT_ARGS + Kstatfs.at.namelen, 255, true);
    request.outputBytes = Kstatfs.size;
    return 0;
  }

  setupMapping(request: FuseRequest): number {
    const file = this.#files[request.nodeId - FIRST_ID];
    if (this.#window === undefined) return -ENODEV;
    if (file === undefined || !decodeSetup(request, this.#window, this.#asked)) return -EINVAL;
    const { fileOffset, windowOffset } = this.#asked;
    const bytes = Math.max(0, Math.min(RANGE_BYTES, file.size - fileOffset));
    this.#pieces.clear();
    if (bytes > 0) this.#pieces.add(file.mapFd, fileOffset, Math.ceil(bytes / PAGE_SIZE));
    return this.#window.mapPieces(request.nodeId, this.#pieces, fileOffset, windowOffset);
  }
  removeMapping(request: FuseRequest): number {
    return this.#window === undefined ? -ENODEV : removeMappings(request, this.#window);
  }
  readMapped(nodeId: number, offset: number, address: number, bytes: number): number {
    const file = this.#files[nodeId - FIRST_ID];
    if (file === undefined) return -ESTALE;
    const read = readFully(file.fd, address, bytes, offset);
    if (read < 0) return read;
    if (read < bytes) new Uint8Array(viewMemory(address + read, bytes - read)).fill(0);
    return 0;
  }

  // As Linux refuses them on a read-only file system.
  setattr(): number {
    return -EROFS;
  }
  create(): number {
    return -EROFS;
  }
  mknod(): number {
    return -EROFS;
  }
  mkdir(): number {
    return -EROFS;
  }
  symlink(): number {
    return -EROFS;
  }
  link(): number {
    return -EROFS;
  }
  unlink(): number {
    return -EROFS;
  }
  rmdir(): number {
    return -EROFS;
  }
  rename(): number {
    return -EROFS;
  }
  write(): number {
    return -EROFS;
  }

  /** @param index of a file, or the directory's, which is before all */
  #isThere(index: number): boolean {
    return index >= ROOT_ID - FIRST_ID && index < this.#files.length;
  }

  #putAttr({ out, output }: FuseRequest, at: number, index: number): void {
    output.bytes.fill(0, at, at + Attr.size);
    const file = this.#files[index];
    const size = file?.size ?? 0;
    setU53(out, at + Attr.at.ino, index + FIRST_ID);
    setU53(out, at + Attr.at.size, size);
    setU53(out, at + Attr.at.blocks, Math.ceil(size / PAGE_SIZE) * (PAGE_SIZE / SECTOR_BYTES));
    for (const field of ["atime", "mtime", "ctime"] as const) setU53(out, at + Attr.at[field], file?.mtimeSeconds ?? 0);
    out.setUint32(at + Attr.at.mode, file === undefined ? S_IFDIR | 0o555 : S_IFREG | 0o444, true);
    out.setUint32(at + Attr.at.nlink, file === undefined ? 2 : 1, true);
    out.setUint32(at + Attr.at.blksize, PAGE_SIZE, true);
    out.setUint32(at + Attr.at.flags, file !== undefined && this.#window !== undefined ? AttrFlag.DAX : 0, true);
  }
}

/** Opens the files as a file system, for one thread. */
export function openBlobs(config: BlobsConfig, shared: BlobsShared, window?: DaxWindow): FileSystem {
  return new BlobFiles(config, shared, window);
}
