import { FormatError, getU53 } from "../../../formats/bytes/index.ts";
import {
  decodeInode,
  dirBlockCount,
  type ErofsInode,
  FT_BLKDEV,
  FT_CHRDEV,
  FT_DIR,
  FT_FIFO,
  FT_REG_FILE,
  FT_SOCK,
  FT_SYMLINK,
  findDirent,
  flatBlockOffset,
} from "../../../formats/erofs/index.ts";
import { EntryOut, ReadIn } from "../../../formats/fuse/index.ts";
import { BLOCK_SIZE, S_IFLNK } from "../../../formats/tree/index.ts";
import { putEntry, replyEntry } from "../replies.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import { FOREVER, putAttr } from "./attributes.ts";
import { EINVAL, ENOTDIR } from "./linux.ts";
import { type ImageVolume, statusOfImage } from "./volume.ts";

const DOT = 0x2e;
/** A directory block has at most this many entries: 4096 bytes, 12 and a name of one byte each. */
const BLOCK_ENTRIES = 512;

/** LOOKUP. That a name is absent holds for ever too. */
export function lookup(volume: ImageVolume, request: FuseRequest): number {
  try {
    const dir = volume.load(request.nodeId);
    const nid = nidOfName(volume, request, dir);
    if (nid < 0) {
      const at = replyEntry(request, 0, 0, FOREVER, FOREVER);
      request.output.bytes.fill(0, at, at + EntryOut.size - EntryOut.at.attr);
      return 0;
    }
    const child = decodeInode(volume.reader.image, nid, volume.child);
    putAttr(volume, request.out, replyEntry(request, volume.nodeIdOf(nid), 0, FOREVER, FOREVER), child);
    return 0;
  } catch (error) {
    return error === NOT_A_DIRECTORY ? -ENOTDIR : statusOfImage(error);
  }
}

const NOT_A_DIRECTORY = new Error("not a directory");

function nidOfName({ reader, dirBlock }: ImageVolume, request: FuseRequest, dir: ErofsInode): number {
  const { nameAt, nameBytes } = request;
  const { bytes } = request.input;
  // The kernel asks for `.` when it has a node's ID only.
  if (nameBytes === 1 && bytes[nameAt] === DOT) return dir.nid;
  if (!dir.isDirectory) throw NOT_A_DIRECTORY;
  return findDirent(reader.image, dir, bytes, nameAt, nameBytes, dirBlock);
}

/**
 * READDIR and READDIRPLUS. Where to go on is a block of the directory and an entry in it, so that no directory is read from
 * its start again, and nothing is kept of an open one.
 */
export function readdir(volume: ImageVolume, request: FuseRequest, plus: boolean): number {
  const from = getU53(request.in, IN_ARGS + ReadIn.at.offset, "fuse_read_in.offset");
  volume.dirents.start(request, plus);
  try {
    const dir = volume.load(request.nodeId);
    if (!dir.isDirectory) return -ENOTDIR;
    const blocks = dirBlockCount(dir);
    let entry = from % BLOCK_ENTRIES;
    for (let block = Math.floor(from / BLOCK_ENTRIES); block < blocks; block++, entry = 0)
      if (!readBlock(volume, request, dir, block, entry, plus)) break;
    return 0;
  } catch (error) {
    // What came before the damage is told first.
    return request.outputBytes > 0 ? 0 : statusOfImage(error);
  }
}

/** @returns whether all of the block's entries found room */
function readBlock(
  volume: ImageVolume,
  request: FuseRequest,
  dir: ErofsInode,
  block: number,
  from: number,
  plus: boolean,
): boolean {
  const { dirBlock, dirents, reader } = volume;
  dirBlock.load(reader.image, dir, block);
  for (let i = from; i < dirBlock.count; i++) {
    dirBlock.select(i);
    if (!dirBlock.isName)
      throw new FormatError("ERR_BAD_VALUE", "erofs_dirent name", 0, `entry ${i} of nid ${dir.nid} holds a slash`);
    const { nameAt, nameBytes, bytes } = dirBlock;
    if (!dirents.fits(nameBytes)) return false;
    const nid = dirBlock.nid(i);
    const cookie = i + 1 === dirBlock.count ? (block + 1) * BLOCK_ENTRIES : block * BLOCK_ENTRIES + i + 1;
    const at = dirents.add(
      nid + 2,
      cookie >>> 0,
      Math.floor(cookie / 0x1_0000_0000),
      dirType(dirBlock.fileType(i)),
      bytes,
      nameAt,
      nameBytes,
    );
    if (plus && !isDots(bytes, nameAt, nameBytes)) putChild(volume, request, at, nid);
  }
  return true;
}

function isDots(bytes: Uint8Array, at: number, length: number): boolean {
  return length <= 2 && bytes[at] === DOT && (length === 1 || bytes[at + 1] === DOT);
}

/** The entry as if looked up; one whose inode is damaged stays one that was not, and fails when it is. */
function putChild(volume: ImageVolume, request: FuseRequest, at: number, nid: number): void {
  try {
    decodeInode(volume.reader.image, nid, volume.child);
  } catch (error) {
    statusOfImage(error);
    return;
  }
  putAttr(volume, request.out, putEntry(request.out, at, volume.nodeIdOf(nid), 0, FOREVER, FOREVER), volume.child);
}

/** DT_* by FT_*. */
const DIR_TYPES: readonly number[] = (() => {
  const types = new Array<number>(8).fill(0);
  types[FT_REG_FILE] = 8;
  types[FT_DIR] = 4;
  types[FT_CHRDEV] = 2;
  types[FT_BLKDEV] = 6;
  types[FT_FIFO] = 1;
  types[FT_SOCK] = 12;
  types[FT_SYMLINK] = 10;
  return types;
})();

function dirType(fileType: number): number {
  return fileType < DIR_TYPES.length ? DIR_TYPES[fileType]! : 0;
}

/** READLINK. */
export function readlink(volume: ImageVolume, request: FuseRequest): number {
  try {
    const inode = volume.load(request.nodeId);
    if (inode.type !== S_IFLNK) return -EINVAL;
    const { size } = inode;
    if (size === 0 || size > BLOCK_SIZE)
      throw new FormatError("ERR_BAD_VALUE", "erofs_inode.size", inode.offset, `found ${size} for a symlink`);
    if (size > request.outputLimit) return -EINVAL;
    const offset = flatBlockOffset(inode, 0);
    const page = volume.reader.image.pages.at(offset, size);
    const at = offset - page.start;
    const to = request.output.bytes;
    for (let i = 0; i < size; i++) {
      const byte = page.bytes[at + i]!;
      if (byte === 0) throw new FormatError("ERR_BAD_VALUE", "symlink target", offset, "a zero byte in it");
      to[OUT_ARGS + i] = byte;
    }
    request.outputBytes = size;
    return 0;
  } catch (error) {
    return statusOfImage(error);
  }
}
