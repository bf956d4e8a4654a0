import { createHash } from "node:crypto";
import { type BigIntStats, closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { listXattrs } from "../../blobd/sys/index.ts";
import { type ByteString, escapeBytes, fromBytes } from "../../formats/bytes/index.ts";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../formats/tree/index.ts";

/**
 * A directory tree as the kernel shows it, path by path: for each escaped path (`/` is the root) the facts about it by
 * name. Two trees hold the same when their descriptions are equal.
 *
 * | fact          | of           | form                                                    |
 * |---------------|--------------|---------------------------------------------------------|
 * | `mode`        | all          | st_mode in octal, with the file type                    |
 * | `owner`       | all          | `uid:gid`                                               |
 * | `mtime`       | all          | seconds and nanoseconds as stored: `-1.999999999` is 1 ns before 0 |
 * | `nlink`       | all          | st_nlink                                                |
 * | `links`       | hard links   | the first path, in order, of the same inode             |
 * | `size`        | files        | bytes                                                   |
 * | `sha256`      | files        | hex                                                     |
 * | `target`      | symlinks     | escaped                                                 |
 * | `rdev`        | devices      | `major:minor`                                           |
 * | `xattr.NAME`  | all          | value in hex                                            |
 */
export type TreeDescription = Map<string, Map<string, string>>;

/** Buffer to read file contents with, in bytes. */
const READ_BYTES = 1 << 20;
const NANOS = 1_000_000_000n;
const SLASH = Buffer.from("/");

/**
 * Describes a directory and all below it. Needs root to see `trusted.*` attributes and other users' files.
 * @throws Error when a path cannot be read.
 */
export function describeTree(directory: string): TreeDescription {
  const description: TreeDescription = new Map();
  const firstPaths = new Map<string, string>();
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);

  const visit = (file: Buffer, path: ByteString) => {
    const stat = lstatSync(file, { bigint: true });
    const escaped = escapeBytes(path || "/");
    const facts = new Map<string, string>();
    description.set(escaped, facts);
    describeInode(facts, stat);
    const type = Number(stat.mode) & S_IFMT;
    if (type !== S_IFDIR && stat.nlink > 1n) {
      const inode = `${stat.dev}:${stat.ino}`;
      if (!firstPaths.has(inode)) firstPaths.set(inode, escaped);
      facts.set("links", firstPaths.get(inode)!);
    }
    if (type === S_IFREG) facts.set("sha256", hashFile(file, buffer));
    if (type === S_IFLNK) facts.set("target", escapeBytes(fromBytes(readlinkSync(file, "buffer"))));
    for (const { name, value } of listXattrs(file))
      facts.set(`xattr.${escapeBytes(name)}`, Buffer.from(value, "latin1").toString("hex"));
    if (type !== S_IFDIR) return;
    const names = readdirSync(file, "buffer").sort(Buffer.compare);
    for (const name of names) visit(Buffer.concat([file, SLASH, name]), `${path}/${fromBytes(name)}`);
  };
  visit(Buffer.from(directory), "");
  return description;
}

function describeInode(facts: Map<string, string>, stat: BigIntStats): void {
  const type = Number(stat.mode) & S_IFMT;
  facts.set("mode", stat.mode.toString(8));
  facts.set("owner", `${stat.uid}:${stat.gid}`);
  facts.set("mtime", formatTime(stat.mtimeNs));
  facts.set("nlink", stat.nlink.toString());
  if (type === S_IFREG) facts.set("size", stat.size.toString());
  if (type === S_IFCHR || type === S_IFBLK) facts.set("rdev", formatDevice(stat.rdev));
}

/** glibc's gnu_dev_major and gnu_dev_minor. */
function formatDevice(rdev: bigint): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** The nanoseconds count forwards, before 1970 too. */
function formatTime(nanos: bigint): string {
  const fraction = ((nanos % NANOS) + NANOS) % NANOS;
  return `${(nanos - fraction) / NANOS}.${fraction.toString().padStart(9, "0")}`;
}

function hashFile(file: Buffer, buffer: Buffer): string {
  const hash = createHash("sha256");
  const fd = openSync(file, "r");
  try {
    for (;;) {
      const length = readSync(fd, buffer);
      if (length === 0) return hash.digest("hex");
      hash.update(buffer.subarray(0, length));
    }
  } finally {
    closeSync(fd);
  }
}

/** Says that a difference does not count. */
export type Exception = (
  path: string,
  fact: string,
  expected: string | undefined,
  found: string | undefined,
) => boolean;

/** The differences of two trees, a line each: none when they are the same. */
export function compareTrees(expected: TreeDescription, found: TreeDescription, except?: Exception): string[] {
  const differences: string[] = [];
  for (const [path, facts] of expected) {
    const other = found.get(path);
    if (other === undefined) {
      differences.push(`${path}: missing`);
      continue;
    }
    for (const fact of new Set([...facts.keys(), ...other.keys()])) {
      const [want, have] = [facts.get(fact), other.get(fact)];
      if (want === have || (fact === "nlink" && isUncounted(facts, other))) continue;
      if (!except?.(path, fact, want, have))
        differences.push(`${path}: ${fact}: expected ${want ?? "none"}, found ${have ?? "none"}`);
    }
  }
  for (const path of found.keys()) if (!expected.has(path)) differences.push(`${path}: not expected`);
  return differences;
}

/** Whether both are directories and one is on a file system that does not count their links, such as overlayfs or btrfs. */
function isUncounted(a: Map<string, string>, b: Map<string, string>): boolean {
  const isDirectory = [a, b].every((facts) => (Number.parseInt(facts.get("mode")!, 8) & S_IFMT) === S_IFDIR);
  return isDirectory && (a.get("nlink") === "1" || b.get("nlink") === "1");
}
