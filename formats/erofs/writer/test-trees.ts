/** Trees for tests, with the blobs that hold their data. */
import { type ByteString, fromText } from "../../bytes/index.ts";
import {
  BLOCK_SIZE,
  type Extent,
  HOLE,
  Inode,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
  setOpaque,
  setXattr,
  type Tree,
} from "../../tree/index.ts";

/** A tree and its blobs' content. */
export interface Sample {
  readonly tree: Tree;
  readonly blobs: readonly Buffer[];
}

/** Most inodes of a test tree have this time. */
export const USUAL_TIME = 1_700_000_000;

/** Collects blobs in memory; digests are made up, as the writer only copies them. */
export class BlobsInMemory {
  readonly #parts: Buffer[][] = [];
  readonly #blocks: number[] = [];

  /** Appends content to a blob, padded to whole blocks. */
  add(blob: number, content: Buffer): Extent {
    const blocks = Math.ceil(content.length / BLOCK_SIZE);
    this.#parts[blob] ??= [];
    const startBlock = this.#blocks[blob] ?? 0;
    this.#parts[blob].push(content, Buffer.alloc(blocks * BLOCK_SIZE - content.length));
    this.#blocks[blob] = startBlock + blocks;
    return { blob, startBlock, blocks };
  }

  /** The sample of a tree with this root. */
  sample(root: Inode): Sample {
    const blobs = this.#parts.map((parts) => Buffer.concat(parts));
    const refs = blobs.map((b, i) => ({
      digestHex: `${i + 1}`.repeat(64).slice(0, 64),
      blocks: b.length / BLOCK_SIZE,
    }));
    return { tree: { root, blobs: refs }, blobs };
  }
}

/** Bytes that look random and depend on the seed alone. */
export function noise(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed + 1) * 0x9e3779b1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

export function newInode(mode: number, fields: Partial<Omit<Inode, "children" | "type">> = {}): Inode {
  const inode = new Inode(mode);
  inode.mtimeSeconds = USUAL_TIME;
  return Object.assign(inode, fields);
}

export function newDirectory(entries: Record<string, Inode> = {}): Inode {
  const dir = newInode(S_IFDIR | 0o755);
  for (const [name, inode] of Object.entries(entries)) dir.children!.set(fromText(name), inode);
  return dir;
}

export function newLink(target: ByteString): Inode {
  return newInode(S_IFLNK | 0o777, { target });
}

export function newFile(size: number, extents: readonly Extent[]): Inode {
  return newInode(S_IFREG | 0o644, { size, extents });
}

/** Content of a file as the tree says it: extents read from the blobs, holes as zeros. */
export function contentOf(inode: Inode, blobs: readonly Buffer[]): Buffer {
  if (inode.inlineData !== null) return Buffer.from(inode.inlineData);
  const parts = inode.extents.map(({ blob, startBlock, blocks }) =>
    blob === HOLE
      ? Buffer.alloc(blocks * BLOCK_SIZE)
      : blobs[blob]!.subarray(startBlock * BLOCK_SIZE, (startBlock + blocks) * BLOCK_SIZE),
  );
  return Buffer.concat(parts).subarray(0, inode.size);
}

/** A POSIX ACL as its xattr: version 2, then tag, permissions and id of each entry. */
export function posixAcl(...entries: readonly (readonly [tag: number, perm: number, id: number])[]): ByteString {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  entries.forEach(([tag, perm, id], i) => {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(perm, 6 + 8 * i);
    bytes.writeUInt32LE(id, 8 + 8 * i);
  });
  return bytes.toString("latin1");
}

const NO_ID = 0xffffffff;
const MIB = 2 ** 20;

/** Something of everything that fits in a few megabytes. */
export function everyKind(): Sample {
  const blobs = new BlobsInMemory();
  return blobs.sample(
    newDirectory({
      files: plainFiles(blobs),
      cut: cutFiles(blobs),
      special: specialFiles(),
      links: symlinks(),
      owners: owners(),
      times: times(),
      xattrs: attributed(blobs),
      names: oddNames(),
      inline: inlineFiles(),
      hard: hardLinks(blobs),
      "many-subdirectories": newDirectory(Object.fromEntries(range(70).map((i) => [`d${i}`, newDirectory()]))),
      "empty-directory": newDirectory(),
    }),
  );
}

function plainFiles(blobs: BlobsInMemory): Inode {
  const sizes = [0, 1, 4095, 4096, 4097, 8192, 12_345, 2 * MIB, 3 * MIB + 5];
  const dir = newDirectory();
  for (const size of sizes)
    dir.children!.set(`size-${size}`, newFile(size, size === 0 ? [] : [blobs.add(size % 2, noise(size, size))]));
  return dir;
}

/** Files in several extents: split, shared, with holes, over two blobs. */
function cutFiles(blobs: BlobsInMemory): Inode {
  const a = blobs.add(0, noise(1, 64 * BLOCK_SIZE));
  const b = blobs.add(1, noise(2, 64 * BLOCK_SIZE));
  const part = (of: Extent, from: number, blocks: number) => ({ ...of, startBlock: of.startBlock + from, blocks });
  const hole = (blocks: number) => ({ blob: HOLE, startBlock: 0, blocks });
  return newDirectory({
    "two-blobs": newFile(32 * BLOCK_SIZE - 9, [part(a, 0, 16), part(b, 0, 16)]),
    "shared-middle": newFile(32 * BLOCK_SIZE, [part(b, 16, 8), part(a, 16, 16), part(b, 40, 8)]),
    "odd-pieces": newFile(11 * BLOCK_SIZE - 1, [part(a, 5, 3), part(a, 1, 1), part(b, 9, 7)]),
    "contiguous-pieces": newFile(9 * BLOCK_SIZE, [part(a, 3, 2), part(a, 5, 3), part(a, 8, 4)]),
    "hole-first": newFile(12 * BLOCK_SIZE, [hole(8), part(a, 0, 4)]),
    "hole-last": newFile(10 * BLOCK_SIZE + 3, [part(a, 0, 4), hole(7)]),
    "holes-only": newFile(100 * BLOCK_SIZE, [hole(60), hole(40)]),
    "many-chunks": newFile(
      2000 * BLOCK_SIZE,
      range(2000).map((i) => (i % 3 === 0 ? hole(1) : part(i % 2 ? a : b, (i * 7) % 64, 1))),
    ),
  });
}

function specialFiles(): Inode {
  const device = (type: number, rdevMajor: number, rdevMinor: number) =>
    newInode(type | 0o640, { rdevMajor, rdevMinor });
  return newDirectory({
    null: device(S_IFCHR, 1, 3),
    whiteout: device(S_IFCHR, 0, 0),
    sda1: device(S_IFBLK, 8, 1),
    "large-numbers": device(S_IFBLK, 0xfff, 0xfffff),
    "minor-256": device(S_IFCHR, 4, 256),
    fifo: newInode(S_IFIFO | 0o600),
    socket: newInode(S_IFSOCK | 0o755),
  });
}

function symlinks(): Inode {
  const dir = newDirectory({
    short: newLink("../files/size-1"),
    dangling: newLink("/no/where"),
    "not-utf8": newLink("\xff\xfe/\x80"),
  });
  for (const length of [31, 32, 33, 2000, 3900, 4032, 4064, 4065, 4095])
    dir.children!.set(`target-${length}`, newLink("t".repeat(length)));
  return dir;
}

function owners(): Inode {
  const owned = (uid: number, gid: number, mode = 0o644) => newInode(S_IFREG | mode, { uid, gid });
  return newDirectory({
    nobody: owned(65534, 65534),
    "uid-65535": owned(65535, 0),
    "uid-65536": owned(65536, 0),
    "gid-large": owned(1000, 4_000_000_000),
    setuid: owned(0, 0, 0o4755),
    setgid: owned(0, 0, 0o2755),
    sticky: newInode(S_IFDIR | 0o1777),
    "no-permissions": owned(0, 0, 0),
  });
}

function times(): Inode {
  const at = (mtimeSeconds: number, mtimeNanos = 0) => newInode(S_IFREG | 0o644, { mtimeSeconds, mtimeNanos });
  return newDirectory({
    usual: at(USUAL_TIME),
    "usual-and-1ns": at(USUAL_TIME, 1),
    "nanos-999999999": at(USUAL_TIME + 1, 999_999_999),
    epoch: at(0),
    "before-1970": at(-1, 999_999_999),
    "year-1900": at(-2_208_988_800),
    "after-2038": at(2 ** 31),
    "after-2106": at(2 ** 32 + 7, 5),
    "year-9999": at(253_402_300_799),
  });
}

function attributed(blobs: BlobsInMemory): Inode {
  const withXattrs = (inode: Inode, xattrs: Record<string, ByteString>) => {
    for (const [name, value] of Object.entries(xattrs)) setXattr(inode, name, value);
    return inode;
  };
  const data = blobs.add(0, noise(77, 5000));
  const acl = posixAcl([1, 6, NO_ID], [2, 4, 1000], [4, 4, NO_ID], [16, 4, NO_ID], [32, 4, NO_ID]);
  const capability = "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
  const opaque = newDirectory();
  setOpaque(opaque, true);
  const many = newFile(0, []);
  for (let i = 0; i < 300; i++) setXattr(many, `user.n${i}`, `value-${i}`);
  const manyToo = newFile(5000, [data]);
  for (let i = 0; i < 300; i++) setXattr(manyToo, `user.n${i}`, `value-${i}`);
  return newDirectory({
    ping: withXattrs(newFile(5000, [data]), { "security.capability": capability }),
    ping6: withXattrs(newFile(5000, [data]), { "security.capability": capability }),
    acl: withXattrs(newFile(5000, [data]), { "system.posix_acl_access": acl }),
    "acl-default": withXattrs(newDirectory(), { "system.posix_acl_access": acl, "system.posix_acl_default": acl }),
    one: withXattrs(newFile(0, []), { "user.only-here": "\0\x01\xff" }),
    empty: withXattrs(newFile(0, []), { "user.empty": "" }),
    mixed: withXattrs(newFile(4096, [{ ...data, blocks: 1 }]), {
      "user.empty": "",
      "user.mine": "m",
      "trusted.root": "r".repeat(100),
    }),
    "large-value": withXattrs(newFile(0, []), { "user.large": "L".repeat(65_000) }),
    "large-value-on-a-link": withXattrs(newLink("over/there"), { "trusted.large": "l".repeat(4040) }),
    "large-value-on-a-directory": withXattrs(newDirectory({ a: newFile(0, []) }), { "user.large": "D".repeat(9000) }),
    "long-name": withXattrs(newFile(0, []), { [`user.${"n".repeat(250)}`]: "v" }),
    link: withXattrs(newLink("ping"), { "trusted.on-a-link": "yes" }),
    opaque,
    many,
    "many-too": manyToo,
  });
}

function oddNames(): Inode {
  const dir = newDirectory();
  const names = [
    "!before-dot",
    "-dash",
    "..more",
    ".hidden",
    "0",
    "A",
    "a",
    "a\nb",
    "ab",
    "a b",
    "\x7f",
    "\xff\xfe",
    "n".repeat(255),
  ];
  for (const name of names) dir.children!.set(name, newFile(0, []));
  dir.children!.set(fromText("ünïcode-日本"), newFile(0, []));
  return dir;
}

/** File data kept in the metadata; the longest do not fit behind their inode. */
function inlineFiles(): Inode {
  const dir = newDirectory();
  for (const size of [1, 100, 4000, 4064, 4065, 4095, 4096, 10_000])
    dir.children!.set(`inline-${size}`, newInode(S_IFREG | 0o644, { size, inlineData: noise(size, size) }));
  return dir;
}

function hardLinks(blobs: BlobsInMemory): Inode {
  const file = newFile(9000, [blobs.add(1, noise(9, 9000))]);
  const link = newLink("one-target-two-names");
  return newDirectory({ a: file, b: file, sub: newDirectory({ c: file, link2: link }), link1: link });
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
