/** For tests: trees on disk to be archived, and what the file system says about them. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { type ByteString, fromBytes, toBytes } from "../bytes/index.ts";

/** What is compared of a member; nanoseconds and attributes apart, since not every format has them. */
export interface Item {
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  readonly link: ByteString;
  readonly device: string;
  readonly size: number;
  readonly sha256: string;
  readonly xattrs: Record<ByteString, ByteString>;
}

/** Runs a program; its output, or an error with what it said. */
export function run(command: string, ...args: string[]): Buffer {
  return execFileSync(command, args, { stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 26 });
}

export function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** What every format can hold. */
export function plainTree(root: string): void {
  fs.mkdirSync(path.join(root, "dir/empty"), { recursive: true });
  for (const size of [0, 1, 511, 512, 513, 70000])
    fs.writeFileSync(path.join(root, "dir", `size-${size}`), Buffer.alloc(size, `${size},`));
  fs.writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from("h\xf6he\xff", "latin1")]), "not UTF-8");
  fs.linkSync(path.join(root, "dir/size-513"), path.join(root, "hard"));
  fs.linkSync(path.join(root, "dir/size-513"), path.join(root, "dir/empty/harder"));
  fs.symlinkSync("../nowhere/at all", path.join(root, "dir/soft"));
  fs.chmodSync(path.join(root, "dir/size-1"), 0o6751);
  fs.chmodSync(path.join(root, "dir/empty"), 0o1777);
  fs.chownSync(path.join(root, "dir/size-1"), 1234, 65534);
  fs.chmodSync(path.join(root, "dir/size-1"), 0o6751);
  run("touch", "-d", "@951782400", path.join(root, "dir/size-512"));
  run("touch", "-h", "-d", "@1000000000", path.join(root, "dir/soft"));
}

/** Besides: devices, fifos, names over 100 bytes. */
export function ustarTree(root: string): void {
  plainTree(root);
  run("mknod", path.join(root, "char"), "c", "5", "1");
  run("mknod", path.join(root, "block"), "b", "259", "70000");
  run("mkfifo", path.join(root, "fifo"));
  const deep = path.join(root, "p".repeat(90), "q".repeat(60));
  fs.mkdirSync(deep, { recursive: true });
  fs.writeFileSync(path.join(deep, "n".repeat(99)), "long");
}

/** Besides: what ustar has no room for, holes, attributes. */
export function fullTree(root: string): void {
  ustarTree(root);
  const deep = path.join(root, ...Array.from({ length: 5 }, (_, i) => `${i}`.repeat(200)));
  fs.mkdirSync(deep, { recursive: true });
  fs.writeFileSync(path.join(deep, "f".repeat(255)), "longer");
  fs.symlinkSync("t".repeat(3000), path.join(root, "long-soft"));
  fs.linkSync(path.join(deep, "f".repeat(255)), path.join(root, "long-hard"));
  fs.chownSync(path.join(root, "dir/size-0"), 4294967290, 3000000000);
  sparseFile(path.join(root, "holes-few"), 3 << 20, [0, 1 << 20]);
  sparseFile(
    path.join(root, "holes-many"),
    9 << 20,
    Array.from({ length: 60 }, (_, i) => i * 131072),
  );
  sparseFile(path.join(root, "all-hole"), 5 << 20, []);
  for (const [name, value] of [
    ["user.binary", "0x00ff0a3d0d"],
    ["user.empty", ""],
    ["user.per%25cent%", "0x31"],
    ["user.e=q sp", "0x0a"],
    ["user.h\u00f6he", "0x32"],
    ["security.capability", "0x0100000200040000000000000000000000000000"],
    ["trusted.overlay.opaque", "0x79"],
  ] as const)
    run("setfattr", "-n", name, ...(value === "" ? [] : ["-v", value]), path.join(root, "dir/size-512"));
  run("setfattr", "-n", "user.on.dir", "-v", "0x33", path.join(root, "dir/empty"));
  // A fraction that a double holds, for writers that keep times in one.
  run("find", root, "-exec", "touch", "-h", "-d", "@1400000000.5", "{}", "+");
  for (const [name, time] of [
    ["size-1", "@-1"],
    ["size-511", "@-0.25"],
    ["size-512", "@1350244992.023960108"],
    ["size-0", "@8589934592.000000001"],
  ] as const)
    run("touch", "-d", time, path.join(root, "dir", name));
}

function sparseFile(file: string, size: number, dataAt: readonly number[]): void {
  const fd = fs.openSync(file, "w");
  for (const [i, at] of dataAt.entries()) fs.writeSync(fd, Buffer.alloc(4096, `data ${i}\n`), 0, 4096, at);
  fs.ftruncateSync(fd, size);
  fs.closeSync(fd);
}

/** The tree as the file system has it, by path; names of one inode share one Item. */
export function onDisk(root: string): Map<ByteString, Item> {
  const items = new Map<ByteString, Item>();
  const byInode = new Map<bigint, Item>();
  const attributes = xattrsOnDisk(root);
  const visit = (relative: ByteString) => {
    const full = toBytes(`${root}/${relative}`);
    const stat = fs.lstatSync(full, { bigint: true });
    const item = byInode.get(stat.ino) ?? itemOnDisk(full, stat, attributes.get(relative) ?? {});
    byInode.set(stat.ino, item);
    items.set(relative, item);
    if (stat.isDirectory())
      for (const name of fs.readdirSync(full, { encoding: "buffer" as BufferEncoding }) as unknown as Buffer[])
        visit(relative === "." ? fromBytes(name) : `${relative}/${fromBytes(name)}`);
  };
  visit(".");
  return items;
}

function itemOnDisk(full: Buffer, stat: fs.BigIntStats, xattrs: Record<string, string>): Item {
  const type = ["file", "directory", "symlink", "char", "block", "fifo"].find((_, i) =>
    [
      stat.isFile(),
      stat.isDirectory(),
      stat.isSymbolicLink(),
      stat.isCharacterDevice(),
      stat.isBlockDevice(),
      stat.isFIFO(),
    ].at(i),
  )!;
  const nanos = ((stat.mtimeNs % 1000000000n) + 1000000000n) % 1000000000n;
  const rdev = Number(stat.rdev);
  const isDevice = type === "char" || type === "block";
  return {
    type,
    mode: Number(stat.mode & 0o7777n),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtimeSeconds: Number((stat.mtimeNs - nanos) / 1000000000n),
    mtimeNanos: Number(nanos),
    link: type === "symlink" ? fromBytes(fs.readlinkSync(full, "buffer")) : "",
    // glibc's gnu_dev_major and gnu_dev_minor, for numbers below 2^32.
    device: isDevice ? `${(rdev >>> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}` : "",
    size: type === "file" ? Number(stat.size) : 0,
    sha256: type === "file" ? sha256(fs.readFileSync(full)) : "",
    xattrs,
  };
}

function xattrsOnDisk(root: string): Map<ByteString, Record<ByteString, ByteString>> {
  const found = new Map<ByteString, Record<ByteString, ByteString>>();
  const dump = execFileSync("getfattr", ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "."], { cwd: root });
  for (const part of dump.toString("latin1").split("\n\n")) {
    const [head, ...lines] = part.trim().split("\n");
    if (head === undefined || head === "") continue;
    const xattrs: Record<string, string> = {};
    for (const line of lines) {
      const eq = line.indexOf("=");
      const value = line
        .slice(eq + 1)
        .replace(/^0x/, "")
        .replace(/^""$/, "");
      xattrs[unquote(line.slice(0, eq))] = Buffer.from(value, "hex").toString("latin1");
    }
    found.set(unquote(head.replace("# file: ", "")), xattrs);
  }
  return found;
}

/** getfattr writes unusual bytes of a name as a backslash and three octal digits. */
function unquote(text: string): ByteString {
  return text.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
