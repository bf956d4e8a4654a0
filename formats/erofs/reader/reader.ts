import type { ByteSource, ByteString } from "../../bytes/index.ts";
import type { Tree, Xattr } from "../../tree/index.ts";
import { type DirEntry, directoryEntries, lookupEntry } from "./dirents.ts";
import { type ErofsExtent, mapExtents } from "./extents.ts";
import { fileData } from "./file-data.ts";
import { inlineTail } from "./flat.ts";
import { type Image, openImage } from "./image.ts";
import { decodeInode, ErofsInode } from "./inode.ts";
import { type LoadOptions, loadTree } from "./load-tree.ts";
import { resolvePath } from "./resolve.ts";
import type { Device, Superblock } from "./superblock.ts";
import { readSymlink } from "./symlink.ts";
import { XattrReader } from "./xattrs.ts";

export interface OpenOptions {
  /** Whether a wrong superblock checksum is an error; true unless told otherwise. */
  readonly verifyChecksum?: boolean;
}

/**
 * Opens an EROFS image: uncompressed, 4 KiB blocks.
 *
 * @throws FormatError when the superblock or the device table is damaged or asks for an unknown feature.
 * @example openErofs(bytesSource(await readFile("image.erofs"))).toTree()
 */
export function openErofs(source: ByteSource, options: OpenOptions = {}): ErofsReader {
  return new ErofsReader(openImage(source, options.verifyChecksum ?? true));
}

/**
 * Reads an EROFS image. Nothing is trusted: every method checks what it meets and throws FormatError for it. Methods that
 * take an inode take one of this reader.
 */
export class ErofsReader {
  /** What the functions of this folder and the checker work on. */
  readonly image: Image;
  readonly #xattrs: XattrReader;

  constructor(image: Image) {
    this.image = image;
    this.#xattrs = new XattrReader(image, null);
  }

  get superblock(): Superblock {
    return this.image.superblock;
  }
  /** The device table; an extent's device n is `devices[n - 1]`. */
  get devices(): readonly Device[] {
    return this.image.devices;
  }
  get rootNid(): number {
    return this.image.superblock.rootNid;
  }

  inode(nid: number): ErofsInode {
    return decodeInode(this.image, nid, new ErofsInode());
  }

  /** A directory's entries in byte order, `.` and `..` among them. */
  readdir(dir: ErofsInode): Generator<DirEntry, void, undefined> {
    return directoryEntries(this.image, dir);
  }

  /** The entry `name` of a directory, found in logarithmic time. */
  lookup(dir: ErofsInode, name: ByteString): DirEntry | undefined {
    return lookupEntry(this.image, dir, name);
  }

  /** Extended attributes, sorted by name. */
  xattrs(inode: ErofsInode): readonly Xattr[] {
    return this.#xattrs.list(inode);
  }

  /** A symlink's target. */
  readlink(inode: ErofsInode): ByteString {
    return readSymlink(this.image, inode);
  }

  /** Where a regular file's blocks lie; what lies in the metadata instead is inlineTail. */
  extents(inode: ErofsInode): ErofsExtent[] {
    const extents: ErofsExtent[] = [];
    mapExtents(this.image, inode, (device, blkAddr, blocks) => extents.push({ device, blkAddr, blocks }));
    return extents;
  }

  /** The last bytes of a file when they lie behind its inode; else empty. A view: do not write to it. */
  inlineTail(inode: ErofsInode): Uint8Array {
    return inlineTail(this.image, inode);
  }

  /**
   * The NID that a path names, symlinks resolved inside the image.
   *
   * @param followLast Whether a symlink as last component is followed.
   * @throws PathError ENOENT, ENOTDIR, ELOOP
   */
  resolve(path: ByteString, followLast = true): number {
    return resolvePath(this.image, path, followLast);
  }

  /**
   * The whole image as a tree, fast. `tree.blobs` are the device table's slots in order; if a file has extents in the image
   * itself, the image is one more blob after them, with an empty digest. Inline data is a view of the source.
   */
  toTree(options: LoadOptions = {}): Tree {
    return loadTree(this.image, options);
  }
}

/**
 * A range of a regular file's data in order, in pieces of at most 1 MiB (do not write to them; holes are zeros). The range
 * ends with the file.
 *
 * @param devices The blobs in the order of the device table. A blob left out is looked for in the image itself, at its
 *   unified address, as in a flattened image.
 * @throws FormatError
 */
export function readFileRange(
  reader: ErofsReader,
  inode: ErofsInode,
  devices: readonly (ByteSource | undefined)[],
  offset: number,
  length: number,
): Generator<Uint8Array, void, undefined> {
  return fileData(reader.image, inode, devices, offset, length);
}
