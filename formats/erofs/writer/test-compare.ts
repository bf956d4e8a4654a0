/** Compares what a kernel shows, or a tool extracted, with the tree it was written from. */
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { type BigIntStats, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { type ByteString, escapeBytes } from "../../bytes/index.ts";
import { HOLE, type Inode, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, type Tree } from "../../tree/index.ts";
import { contentOf, type Sample } from "./test-trees.ts";

export interface CompareOptions {
  /**
   * Leave out what not every version of `fsck.erofs --extract` restores: xattrs, hard links, set-id bits (1.5 changes
   * the owner last), and the content of files with holes (1.5 leaves them out, 1.9 a hole at the end).
   */
  readonly extracted?: boolean;
}

/** Throws an AssertionError with the path at the first difference. Every path of the tree is looked at. */
export function compareWithTree(at: string, { tree, blobs }: Sample, options: CompareOptions = {}): void {
  const nlinks = countLinks(tree);
  const inos = new Map<Inode, bigint>();
  const todo: { path: ByteString; inode: Inode }[] = [{ path: at, inode: tree.root }];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const { path, inode } = next;
    const stats = lstatSync(Buffer.from(path, "latin1"), { bigint: true });
    const found = describe(path, stats);
    const expected = describeExpected(inode, blobs);
    if (options.extracted === true) forgive(inode, found, expected);
    assert.deepEqual(found, expected, escapeBytes(path));
    for (const [name, child] of inode.children ?? []) todo.push({ path: `${path}/${name}`, inode: child });
    if (options.extracted === true) continue;
    assert.equal(Number(stats.nlink), nlinks.get(inode), `nlink of ${escapeBytes(path)}`);
    assert.equal(inos.get(inode) ?? stats.ino, stats.ino, `hard link ${escapeBytes(path)}`);
    inos.set(inode, stats.ino);
  }
  if (options.extracted === true) return;
  assert.equal(new Set(inos.values()).size, inos.size, "inode numbers of different inodes differ");
  assert.deepEqual(getfattr(at), expectedXattrs(at, tree));
}

/** Takes over from `expected` what extraction is known to lose. */
function forgive(inode: Inode, found: Record<string, unknown>, expected: Record<string, unknown>): void {
  const SET_ID = 0o6000;
  if ((inode.mode & SET_ID) !== 0 && found.mode === (inode.mode & ~SET_ID).toString(8)) found.mode = expected.mode;
  if (!inode.extents.some(({ blob }) => blob === HOLE)) return;
  found.size = expected.size;
  found.content = expected.content;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function describe(path: ByteString, stats: BigIntStats): Record<string, unknown> {
  const mode = Number(stats.mode);
  const file = Buffer.from(path, "latin1");
  const common = { mode: mode.toString(8), uid: Number(stats.uid), gid: Number(stats.gid), mtimeNs: stats.mtimeNs };
  switch (mode & 0o170000) {
    case S_IFREG:
      return { ...common, size: Number(stats.size), content: sha256(readFileSync(file)) };
    case S_IFDIR:
      return {
        ...common,
        names: readdirSync(file, { encoding: "buffer" })
          .map((n) => n.toString("latin1"))
          .sort(),
      };
    case S_IFLNK:
      return { ...common, target: readlinkSync(file, { encoding: "buffer" }).toString("latin1") };
    case S_IFCHR:
    case S_IFBLK:
      return { ...common, ...deviceNumbers(stats.rdev) };
    default:
      return common;
  }
}

function describeExpected(inode: Inode, blobs: readonly Buffer[]): Record<string, unknown> {
  const mtimeNs = BigInt(inode.mtimeSeconds) * 1_000_000_000n + BigInt(inode.mtimeNanos);
  const common = { mode: inode.mode.toString(8), uid: inode.uid, gid: inode.gid, mtimeNs };
  switch (inode.type) {
    case S_IFREG:
      return { ...common, size: inode.size, content: sha256(contentOf(inode, blobs)) };
    case S_IFDIR:
      return { ...common, names: [...inode.children!.keys()].sort() };
    case S_IFLNK:
      return { ...common, target: inode.target };
    case S_IFCHR:
    case S_IFBLK:
      return { ...common, major: inode.rdevMajor, minor: inode.rdevMinor };
    default:
      return common;
  }
}

/** glibc's dev_t, sys/sysmacros.h. */
function deviceNumbers(rdev: bigint): { major: number; minor: number } {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
  return { major: Number(major), minor: Number(minor & 0xffffffffn) };
}

function countLinks(tree: Tree): Map<Inode, number> {
  const counts = new Map<Inode, number>([[tree.root, 2]]);
  const todo = [tree.root];
  for (let dir = todo.pop(); dir !== undefined; dir = todo.pop())
    for (const child of dir.children!.values())
      if (child.children === null) counts.set(child, (counts.get(child) ?? 0) + 1);
      else {
        counts.set(child, 2);
        counts.set(dir, counts.get(dir)! + 1);
        todo.push(child);
      }
  return counts;
}

type XattrsByPath = Map<ByteString, Map<ByteString, string>>;

/** All xattrs below a path as getfattr prints them, values in hex. */
function getfattr(at: string): XattrsByPath {
  const args = ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "--absolute-names", at];
  const output = execFileSync("getfattr", args, {
    encoding: "latin1",
    maxBuffer: 2 ** 28,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const found: XattrsByPath = new Map();
  let current = new Map<ByteString, string>();
  for (const line of output.split("\n")) {
    if (line.startsWith("# file: ")) {
      current = new Map();
      found.set(unescapeOctal(line.slice(8)), current);
    } else if (line !== "") {
      const equals = line.indexOf("=0x");
      if (equals < 0) current.set(line.replace(/=.*$/, ""), "");
      else current.set(unescapeOctal(line.slice(0, equals)), line.slice(equals + 3));
    }
  }
  return found;
}

function expectedXattrs(at: string, tree: Tree): XattrsByPath {
  const expected: XattrsByPath = new Map();
  const todo: { path: ByteString; inode: Inode }[] = [{ path: at, inode: tree.root }];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const { path, inode } = next;
    if (inode.xattrs.length > 0)
      expected.set(path, new Map(inode.xattrs.map((x) => [x.name, Buffer.from(x.value, "latin1").toString("hex")])));
    for (const [name, child] of inode.children ?? []) todo.push({ path: `${path}/${name}`, inode: child });
  }
  return expected;
}

function unescapeOctal(text: string): ByteString {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
