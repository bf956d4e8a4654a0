/** Directories of the running machine as trees, for tests that compare images with what the kernel shows. */
import { execFileSync } from "node:child_process";
import { lstatSync, readdirSync, readlinkSync } from "node:fs";
import type { ByteString } from "../../bytes/index.ts";
import { Inode, S_IFDIR, S_IFLNK, S_IFREG, setXattr, type Tree } from "../../tree/index.ts";

const buffer = (path: ByteString) => Buffer.from(path, "latin1");

/** What the kernel shows below `path`, without file data. Hard links share an Inode. */
export function treeOfDirectory(path: string): Tree {
  const byIno = new Map<bigint, Inode>();
  const xattrs = xattrsBelow(path);
  const root = inodeOf(path, byIno, xattrs);
  const todo: [ByteString, Inode][] = [[path, root]];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const [at, inode] = next;
    for (const name of readdirSync(buffer(at), { encoding: "latin1" })) {
      const child = inodeOf(`${at}/${name}`, byIno, xattrs);
      inode.children!.set(name, child);
      if (child.children !== null) todo.push([`${at}/${name}`, child]);
    }
  }
  return { root, blobs: [] };
}

type XattrsByPath = ReadonlyMap<ByteString, readonly (readonly [name: ByteString, value: ByteString])[]>;

function inodeOf(path: ByteString, byIno: Map<bigint, Inode>, xattrs: XattrsByPath): Inode {
  const stats = lstatSync(buffer(path), { bigint: true });
  const known = byIno.get(stats.ino);
  if (known !== undefined) return known;
  const inode = new Inode(Number(stats.mode));
  byIno.set(stats.ino, inode);
  inode.uid = Number(stats.uid);
  inode.gid = Number(stats.gid);
  inode.mtimeNanos = Number(((stats.mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);
  inode.mtimeSeconds = Number((stats.mtimeNs - BigInt(inode.mtimeNanos)) / 1_000_000_000n);
  if (inode.type === S_IFREG) inode.size = Number(stats.size);
  else if (inode.type === S_IFLNK) inode.target = readlinkSync(buffer(path), { encoding: "latin1" });
  else if (inode.type !== S_IFDIR) {
    // glibc's dev_t, sys/sysmacros.h, for numbers of 12 and 20 bits.
    inode.rdevMajor = Number((stats.rdev >> 8n) & 0xfffn);
    inode.rdevMinor = Number((stats.rdev & 0xffn) | ((stats.rdev >> 12n) & 0xfff00n));
  }
  for (const [name, value] of xattrs.get(path) ?? []) setXattr(inode, name, value);
  return inode;
}

/** All extended attributes below a path, as getfattr lists them. */
function xattrsBelow(path: string): XattrsByPath {
  const args = ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "--absolute-names", path];
  const output = execFileSync("getfattr", args, { encoding: "latin1", maxBuffer: 2 ** 28 });
  const found = new Map<ByteString, [ByteString, ByteString][]>();
  let current: [ByteString, ByteString][] = [];
  for (const line of output.split("\n")) {
    if (line.startsWith("# file: ")) {
      current = [];
      found.set(unescapeOctal(line.slice(8)), current);
    } else if (line !== "") {
      const [, name, hex] = /^(.*?)(?:=0x([0-9a-f]*)|=""|)$/.exec(line)!;
      current.push([unescapeOctal(name!), Buffer.from(hex ?? "", "hex").toString("latin1")]);
    }
  }
  return found;
}

function unescapeOctal(text: string): ByteString {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
