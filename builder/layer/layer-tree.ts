/**
 * A layer's entries applied in archive order to an empty tree. What the layer says about lower layers (whiteouts, opaque
 * and implied directories, hard links to lower files) stays in the tree as marks (formats/tree/layer-marks.ts), so the
 * conversion of a layer depends on nothing but the layer.
 */
import { type ByteString, escapeBytes, FormatError } from "../../formats/bytes/index.ts";
import type { TarEntry } from "../../formats/tar/index.ts";
import {
  cleanPath,
  escapeMarks,
  Inode,
  isWhiteout,
  lookup,
  newImpliedDirectory,
  newLowerLink,
  newWhiteout,
  resolveDirectory,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  setOpaque,
  setXattr,
  XATTR_OPAQUE,
  xattrValue,
} from "../../formats/tree/index.ts";
import { DEFAULT_LAYER_LIMITS, LayerBudget, type LayerLimits } from "./layer-budget.ts";

/** OCI image specification, layer.md, "Whiteouts". */
const WHITEOUT_PREFIX = ".wh.";
const WHITEOUT_OPAQUE = ".wh..wh..opq";
/** aufs keeps its own files under this prefix; they are no part of the image. */
const AUFS_PREFIX = ".wh..wh.";

const TYPE_BITS = {
  file: S_IFREG,
  hardlink: S_IFREG,
  symlink: S_IFLNK,
  char: S_IFCHR,
  block: S_IFBLK,
  directory: S_IFDIR,
  fifo: S_IFIFO,
} as const;

/** Where an entry goes: its directory in the tree, and its name there ("" for the root itself). */
interface Place {
  readonly dir: Inode;
  readonly name: ByteString;
}

export class LayerTree {
  readonly root: Inode = newImpliedDirectory();
  private readonly budget: LayerBudget;
  /** The directory part of the last path placed and where it led: archives list a directory's entries together. */
  private lastDirectoryPath: ByteString | undefined;
  private lastDirectory: Inode = this.root;

  constructor(limits: LayerLimits = DEFAULT_LAYER_LIMITS) {
    this.budget = new LayerBudget(limits);
  }

  /**
   * Puts an entry into the tree. A regular file's data is the caller's to add to the returned inode.
   *
   * @returns the inode that the name now has, or null when the entry is a mark or a link.
   * @throws FormatError naming the entry when it cannot be placed, or is more than a layer may have.
   */
  add(entry: TarEntry): Inode | null {
    this.budget.addEntry(entry);
    const place = this.place(entry);
    if (place.name.startsWith(WHITEOUT_PREFIX)) {
      this.addWhiteout(entry, place);
      return null;
    }
    if (entry.type === "hardlink") {
      this.put(entry, place, this.linkTarget(entry));
      return null;
    }
    if (entry.type === "directory") return this.addDirectory(entry, place);
    if (place.name === "") throw misplaced(entry, "names the root", "a directory");
    const inode = newInode(entry);
    this.put(entry, place, inode);
    return inode;
  }

  private place(entry: TarEntry): Place {
    const { path } = entry;
    const slash = path.lastIndexOf("/");
    const name = path.slice(slash + 1);
    // The quick way: an ordinary name in the same directory as the entry before.
    if (name !== "" && name !== "." && name !== ".." && path.slice(0, slash + 1) === this.lastDirectoryPath)
      return { dir: this.lastDirectory, name };
    const parts = cleanPath(path);
    const base = parts.pop();
    if (base === undefined) return { dir: this.root, name: "" };
    const dir = resolveDirectory(this.root, parts, (parent, name) => this.makeImplied(entry, parent, name));
    if (dir === null) throw misplaced(entry, "lies below a file", "a directory above it");
    if (base === name) {
      this.lastDirectoryPath = path.slice(0, slash + 1);
      this.lastDirectory = dir;
    }
    return { dir, name: base };
  }

  private put(entry: TarEntry, place: Place, inode: Inode): void {
    this.budget.addName(entry, place.name);
    const siblings = childrenOf(place.dir);
    const old = siblings.get(place.name);
    if (old !== undefined && (old.children !== null || old.type === S_IFLNK)) this.lastDirectoryPath = undefined;
    siblings.set(place.name, inode);
  }

  private makeImplied(entry: TarEntry, parent: Inode, name: ByteString): Inode | null {
    const old = childrenOf(parent).get(name);
    if (old !== undefined && !isWhiteout(old)) return null;
    const dir = newImpliedDirectory();
    if (old !== undefined) setOpaque(dir, true);
    this.put(entry, { dir: parent, name }, dir);
    return dir;
  }

  private addDirectory(entry: TarEntry, place: Place): Inode {
    const old = place.name === "" ? this.root : childrenOf(place.dir).get(place.name);
    if (old?.children) {
      const opaque = xattrValue(old, XATTR_OPAQUE);
      setMetadata(old, entry);
      if (opaque !== undefined) setXattr(old, XATTR_OPAQUE, opaque);
      return old;
    }
    const dir = newInode(entry);
    // What a lower layer has at this name was taken away by the entry that we replace.
    if (old !== undefined) setOpaque(dir, true);
    this.put(entry, place, dir);
    return dir;
  }

  private addWhiteout(entry: TarEntry, place: Place): void {
    if (place.name === WHITEOUT_OPAQUE) {
      setOpaque(place.dir, true);
      return;
    }
    if (place.name.startsWith(AUFS_PREFIX)) return;
    const hidden = place.name.slice(WHITEOUT_PREFIX.length);
    if (hidden === "" || hidden === "." || hidden === "..")
      throw misplaced(entry, "is a whiteout of nothing", "a name");
    // A whiteout speaks of lower layers only: what this layer itself has at the name stays.
    const own = childrenOf(place.dir).get(hidden);
    if (own === undefined) this.put(entry, { dir: place.dir, name: hidden }, newWhiteout());
    else if (own.children !== null) setOpaque(own, true);
  }

  private linkTarget(entry: TarEntry): Inode {
    const parts = cleanPath(entry.linkPath);
    const target = lookup(this.root, parts);
    if (target === undefined) return newLowerLink(`/${parts.join("/")}`);
    if (target.children !== null)
      throw misplaced(entry, `links to the directory ${escapeBytes(entry.linkPath)}`, "a file");
    if (isWhiteout(target))
      throw misplaced(entry, `links to ${escapeBytes(entry.linkPath)}, which the layer removed`, "a file");
    return target;
  }
}

function childrenOf(dir: Inode): Map<ByteString, Inode> {
  return dir.children as Map<ByteString, Inode>;
}

function newInode(entry: TarEntry): Inode {
  const inode = new Inode(TYPE_BITS[entry.type]);
  setMetadata(inode, entry);
  if (entry.type === "symlink") inode.target = entry.linkPath;
  inode.rdevMajor = entry.devMajor;
  inode.rdevMinor = entry.devMinor;
  return inode;
}

function setMetadata(inode: Inode, entry: TarEntry): void {
  // Linux gives every symlink these permissions, whatever its archive says, and looks at none of them.
  inode.mode = inode.type | (inode.type === S_IFLNK ? 0o777 : entry.mode & 0o7777);
  inode.uid = entry.uid;
  inode.gid = entry.gid;
  inode.mtimeSeconds = entry.mtimeSeconds;
  inode.mtimeNanos = entry.mtimeNanos;
  inode.xattrs = escapeMarks(entry.xattrs);
}

function misplaced(entry: TarEntry, found: string, expected: string): FormatError {
  return new FormatError(
    "ERR_BAD_VALUE",
    "layer entry",
    entry.headerOffset,
    `${escapeBytes(entry.path)} ${found}, expected ${expected}`,
  );
}
