import { type ByteString, escapeBytes } from "../../bytes/index.ts";
import type { Inode, Tree } from "../../tree/index.ts";
import { fileTypeOf } from "../file-type.ts";
import { DATALAYOUT_FLAT_PLAIN, FT_DIR, FT_UNKNOWN, NAME_LEN } from "../format.ts";
import { ErofsWriteError } from "./errors.ts";
import type { XattrEntry } from "./xattrs.ts";

/** An inode on its way to disk: found by `planTree`, measured, placed by `layOut`, then written. */
export class Item {
  readonly inode: Inode;
  /** The first directory that names it (the root: itself), and the name there: for `..` and for error texts. */
  readonly parent: Item;
  readonly name: ByteString;
  readonly fileType: number;
  nlink = 1;
  /** A directory's entries, `.` and `..` among them, sorted by bytes; parallel arrays. */
  names: readonly ByteString[] = NO_NAMES;
  targets: readonly Item[] = NO_ITEMS;
  xattrs: readonly XattrEntry[] = NO_XATTRS;
  /** Bytes of the xattr body: header, shared ids, inline entries; 0 without xattrs. */
  xattrBytes = 0;
  /** Which of the tree's mtimes it has: `MtimeTally.add`. */
  mtimeId = 0;
  /** Whether it takes the 64-byte form. */
  extended = false;
  dataLayout = DATALAYOUT_FLAT_PLAIN;
  /** i_size in bytes. */
  size = 0;
  /** Of a CHUNK_BASED file: log2 of the chunk size in blocks, and the number of chunks. */
  chunkBits = 0;
  chunks = 0;
  /** Where the inode starts, in bytes from the image's start. */
  offset = 0;
  /** Whole blocks of content in the data area, and the first of them, counted from the area's start. */
  dataBlocks = 0;
  firstDataBlock = 0;

  constructor(inode: Inode, parent: Item | null, name: ByteString) {
    this.inode = inode;
    this.parent = parent ?? this;
    this.name = name;
    this.fileType = fileTypeOf(inode.type);
  }

  /** The absolute path, escaped, for error texts; the middle of a very deep path is left out. */
  get path(): string {
    const parts: string[] = [];
    let item: Item = this;
    for (; item.parent !== item && parts.length < MAX_PATH_PARTS; item = item.parent)
      parts.push(escapeBytes(item.name));
    if (item.parent !== item) parts.push("…");
    return `/${parts.reverse().join("/")}`;
  }
}

const MAX_PATH_PARTS = 64;
const NO_NAMES: readonly ByteString[] = [];
const NO_ITEMS: readonly Item[] = [];
const NO_XATTRS: readonly XattrEntry[] = [];

/**
 * The tree's inodes in the order of writing: the root, then, directory by directory in pre-order, each directory's
 * children side by side, so that `ls -lR` reads forward. Names are sorted by bytes, so the order in which the tree was
 * filled does not show. Links are counted here. The walk keeps its own stack: depth is bounded by memory only.
 *
 * @param measure called once for each inode, while it is at hand: walking a large tree is mostly waiting for memory
 * @throws ErofsWriteError for a name that no directory can hold, an unknown file type, a directory under two names
 */
export function planTree(tree: Tree, measure: (item: Item) => void): Item[] {
  const root = new Item(tree.root, null, "");
  if (root.fileType !== FT_DIR) throw new ErofsWriteError("ERR_BAD_TREE", "/", "the root is not a directory");
  measure(root);
  const items = [root];
  const known = new Map<Inode, Item>([[tree.root, root]]);
  const directories = [root];
  for (let dir = directories.pop(); dir !== undefined; dir = directories.pop()) {
    const firstChild = items.length;
    listDirectory(dir, items, known);
    for (let i = firstChild; i < items.length; i++) measure(items[i]!);
    for (let i = items.length - 1; i >= firstChild; i--) if (items[i]!.fileType === FT_DIR) directories.push(items[i]!);
  }
  return items;
}

/** Fills `dir`'s entries; appends the inodes it names first to `items`. */
function listDirectory(dir: Item, items: Item[], known: Map<Inode, Item>): void {
  const children = dir.inode.children!;
  const names = sortedNames(children, dir);
  const targets = new Array<Item>(names.length);
  let nlink = 2;
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!;
    if (name === ".") targets[i] = dir;
    else if (name === "..") targets[i] = dir.parent;
    else {
      const inode = children.get(name)!;
      let item = known.get(inode);
      if (item === undefined) {
        item = new Item(inode, dir, name);
        if (item.fileType === FT_UNKNOWN) throw unknownType(item);
        items.push(item);
        known.set(inode, item);
      } else if (item.fileType === FT_DIR) throw linkedDirectory(item, dir, name);
      else item.nlink++;
      if (item.fileType === FT_DIR) nlink++;
      targets[i] = item;
    }
  }
  dir.nlink = nlink;
  dir.names = names;
  dir.targets = targets;
}

/** The names of a directory with `.` and `..`, sorted by bytes; most come sorted, which one pass finds out. */
function sortedNames(children: ReadonlyMap<ByteString, Inode>, dir: Item): ByteString[] {
  const names: ByteString[] = [".", ".."];
  let sorted = true;
  let last = "..";
  for (const name of children.keys()) {
    if (name.length > NAME_LEN || name === "" || name === "." || name === ".." || BAD_NAME.test(name))
      throw badName(dir, name);
    if (name < last) sorted = false;
    last = name;
    names.push(name);
  }
  return sorted ? names : names.sort();
}

/** Slash and NUL cannot be in a name; a char above 255 is no byte. */
const BAD_NAME = /[/\0\u0100-\uffff]/;

function badName(dir: Item, name: ByteString): ErofsWriteError {
  if (name.length > NAME_LEN)
    return new ErofsWriteError(
      "ERR_LIMIT",
      dir.path,
      `an entry's name has ${name.length} bytes, the format holds ${NAME_LEN}: ${escapeBytes(name.slice(0, 32))}…`,
    );
  return new ErofsWriteError("ERR_BAD_TREE", dir.path, `${JSON.stringify(escapeBytes(name))} cannot be a file name`);
}

function unknownType(item: Item): ErofsWriteError {
  return new ErofsWriteError("ERR_BAD_TREE", item.path, `mode 0${item.inode.mode.toString(8)} has no known file type`);
}

function linkedDirectory(item: Item, dir: Item, name: ByteString): ErofsWriteError {
  const second = `${dir.path}/${escapeBytes(name)}`;
  return new ErofsWriteError("ERR_BAD_TREE", item.path, `the directory has a second name, ${second}`);
}
