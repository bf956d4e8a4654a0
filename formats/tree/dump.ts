/**
 * A tree as text, one line a path, for goldens and diffs:
 *
 * ```
 * d0755 3 0 0 0 1700000000.000000000 - /
 * -0644 2 0 0 12 1700000000.500000000 - /a extents=0:16+1 x:user.note=two\x20words
 * -0644 2 0 0 12 1700000000.500000000 - /b link=/a
 * c0600 1 0 5 0 1700000000.000000000 4:64 /tty
 * l0777 1 0 0 4 -1.250000000 - /lib target=/usr
 * ```
 * Columns, one space apart: type and permission bits, link count, uid, gid, size in bytes, mtime as seconds and nanoseconds
 * (the nanoseconds count forward, so -1.250000000 is 0.75 s before 1970), device number or `-`, path. Then, where they
 * apply: `link=` (another name of the inode of that first path; nothing more is said about it), `target=`, `inline=` (bytes
 * kept in the metadata), `extents=` (blob:first block+blocks, or `hole`+blocks), and `x:`name`=`value by name. Bytes outside
 * printable ASCII, spaces and backslashes are escaped as `\xHH` and `\\`, in xattr names `=` as well, so a line splits at
 * its spaces whatever the names are.
 *
 * Paths come in byte order of the whole path, as `LC_ALL=C sort` has them: /a, /a-b, /a/c.
 */
import { type ByteString, escapeBytes } from "../bytes/index.ts";
import {
  type Extent,
  HOLE,
  type Inode,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  type Tree,
} from "./inode.ts";

export interface DumpOptions {
  /** Also tell where the data lies: first a line `# blob i digest blocks` a blob, then `extents=` with each file. */
  readonly extents?: boolean;
}

/**
 * The lines of a tree's dump, without line ends. The format is described at the head of this file.
 *
 * @example for (const line of dumpTree(tree)) console.log(line);
 */
export function* dumpTree(tree: Tree, options: DumpOptions = {}): Generator<string, void, undefined> {
  const withExtents = options.extents === true;
  if (withExtents)
    for (const [i, blob] of tree.blobs.entries()) yield `# blob ${i} ${blob.digestHex || "-"} ${blob.blocks}`;
  const links = countLinks(tree);
  const firstPaths = new Map<Inode, string>();
  for (const [path, inode] of walkByPath(tree)) {
    const nlink = links.get(inode)!;
    const name = escapeBytes(path);
    const head = `${columns(inode, nlink)} ${name}`;
    const firstPath = firstPaths.get(inode);
    if (firstPath !== undefined) yield `${head} link=${firstPath}`;
    else {
      if (nlink > 1 && inode.children === null) firstPaths.set(inode, name);
      yield head + details(inode, withExtents);
    }
  }
}

/** Link counts as a file system has them: names of a file; 2 and the subdirectories of a directory. */
function countLinks(tree: Tree): Map<Inode, number> {
  const links = new Map<Inode, number>([[tree.root, 2]]);
  const directories = [tree.root];
  for (let dir = directories.pop(); dir !== undefined; dir = directories.pop())
    for (const child of dir.children!.values()) {
      if (child.children === null) links.set(child, (links.get(child) ?? 0) + 1);
      else {
        links.set(dir, links.get(dir)! + 1);
        links.set(child, 2);
        directories.push(child);
      }
    }
  return links;
}

/** A step of the walk: a path to give out, or, with a slash at its end, a directory to go into. */
interface Step {
  /** Where it sorts among the steps of one directory: its name, with the slash. */
  readonly key: ByteString;
  readonly path: ByteString;
  readonly inode: Inode;
  readonly enter: boolean;
}

/**
 * Every path with its inode, in byte order of the whole paths. What lies below /a sorts as "/a/" among the siblings of /a,
 * so going into a directory is a step of its own, sorted among the names.
 */
function* walkByPath(tree: Tree): Generator<readonly [ByteString, Inode], void, undefined> {
  yield ["/", tree.root];
  /** Steps still to do, the next one last. */
  const todo: Step[] = [{ key: "/", path: "/", inode: tree.root, enter: true }];
  for (let step = todo.pop(); step !== undefined; step = todo.pop()) {
    if (!step.enter) {
      yield [step.path, step.inode];
      continue;
    }
    const steps: Step[] = [];
    for (const [name, inode] of step.inode.children!) {
      const path = step.path + name;
      steps.push({ key: name, path, inode, enter: false });
      if (inode.children !== null && inode.children.size > 0)
        steps.push({ key: `${name}/`, path: `${path}/`, inode, enter: true });
    }
    steps.sort((a, b) => (a.key < b.key ? 1 : -1));
    for (const next of steps) todo.push(next);
  }
}

const TYPE_LETTERS = new Map([
  [S_IFREG, "-"],
  [S_IFDIR, "d"],
  [S_IFLNK, "l"],
  [S_IFCHR, "c"],
  [S_IFBLK, "b"],
  [S_IFIFO, "p"],
  [S_IFSOCK, "s"],
]);

/** The letter of a file type, as ls(1) shows it: `-` for a regular file, `d` for a directory. */
export function typeLetter(mode: number): string {
  return TYPE_LETTERS.get(mode & S_IFMT) ?? "?";
}

function columns(inode: Inode, nlink: number): string {
  const mode = typeLetter(inode.mode) + (inode.mode & 0o7777).toString(8).padStart(4, "0");
  const size = inode.type === S_IFLNK ? inode.target.length : inode.size;
  const mtime = `${inode.mtimeSeconds}.${inode.mtimeNanos.toString().padStart(9, "0")}`;
  const isDevice = inode.type === S_IFCHR || inode.type === S_IFBLK;
  const rdev = isDevice ? `${inode.rdevMajor}:${inode.rdevMinor}` : "-";
  return `${mode} ${nlink} ${inode.uid} ${inode.gid} ${size} ${mtime} ${rdev}`;
}

function details(inode: Inode, withExtents: boolean): string {
  let text = "";
  if (inode.type === S_IFLNK) text += ` target=${escapeBytes(inode.target)}`;
  if (withExtents && inode.inlineData !== null) text += ` inline=${inode.inlineData.length}`;
  if (withExtents && inode.extents.length > 0) text += ` extents=${inode.extents.map(extentText).join(",")}`;
  for (const { name, value } of inode.xattrs)
    text += ` x:${escapeBytes(name).replaceAll("=", "\\x3d")}=${escapeBytes(value)}`;
  return text;
}

function extentText({ blob, startBlock, blocks }: Extent): string {
  return blob === HOLE ? `hole+${blocks}` : `${blob}:${startBlock}+${blocks}`;
}
