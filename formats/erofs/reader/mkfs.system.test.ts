/** Images of mkfs.erofs, Debian's and the lab's, read back and compared with their source and with the kernel's view. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type ByteSource, bytesSource } from "../../bytes/index.ts";
import { Random } from "../../bytes/testing.ts";
import { dumpTree, type Inode, S_IFREG, type Tree } from "../../tree/index.ts";
import { checkErofs } from "../check/index.ts";
import { damage } from "./damage.ts";
import { exercise } from "./exercise.ts";
import { openErofs, readFileRange } from "./reader.ts";
import { treeOfDirectory } from "./test-directories.ts";

/** This file is dist/formats/erofs/reader/mkfs.system.test.js when it runs. */
const RUN_IN_LAB = fileURLToPath(new URL("../../../../samples/lab/run-in-lab.sh", import.meta.url));

/** A directory of everything that a file system can hold. */
function fillSource(at: string): void {
  const path = (name: string) => join(at, name);
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { cwd: at });
  mkdirSync(path("d/e/f"), { recursive: true });
  for (const size of [0, 1, 4000, 4095, 4096, 4097, 8192, 100_000, 3_000_001])
    writeFileSync(path(`size-${size}`), Buffer.alloc(size, `${size}-`));
  writeFileSync(path("sparse"), "begin");
  truncateSync(path("sparse"), 5_000_000);
  linkSync(path("size-4097"), path("d/e/hard"));
  symlinkSync("../size-1", path("d/sym"));
  symlinkSync("x".repeat(4000), path("long-link"));
  run("mkfifo", "fifo");
  run("mknod", "char", "c", "5", "300");
  run("mknod", "block", "b", "259", "70000");
  mkdirSync(path("big"));
  for (let i = 0; i < 1500; i++) writeFileSync(path(`big/entry-${i}-${"y".repeat(i % 60)}`), i % 7 === 0 ? `${i}` : "");
  writeFileSync(Buffer.concat([Buffer.from(path("")), Buffer.from("/nl\n tab\t\xff\\", "latin1")]), "odd name");
  run("setfattr", "-n", "user.text", "-v", "hello", "size-1");
  run("setfattr", "-n", "trusted.overlay.opaque", "-v", "y", "d");
  run("setfattr", "-n", "security.capability", "-v", "0x0100000200040000000000000000000000000000", "size-4096");
  for (const name of ["size-0", "size-4095", "d/e"])
    for (let i = 0; i < 5; i++) run("setfattr", "-n", `user.shared.${i}`, "-v", `same value ${i}`, name);
  utimesSync(path("size-4095"), 0, -12_345.5);
  lutimesSync(path("d/sym"), 0, 1_234_567.25);
  lchownSync(path("size-4096"), 1000, 65_534);
  chmodSync(path("size-4000"), 0o6755);
  chmodSync(path("d/e/f"), 0o1700);
}

interface Variant {
  readonly what: string;
  readonly args: readonly string[];
  /** Made by the lab's mkfs.erofs rather than Debian's. */
  readonly lab?: true;
  readonly blobdev?: true;
}

const VARIANTS: readonly Variant[] = [
  { what: "inline tails", args: [] },
  { what: "no inline data", args: ["-Enoinline_data"] },
  { what: "extended inodes", args: ["-Eforce-inode-extended"] },
  { what: "compact inodes", args: ["-Eforce-inode-compact", "--ignore-mtime"] },
  { what: "xattrs shared from the first", args: ["-x1"] },
  { what: "chunks of one block", args: ["--chunksize=4096"] },
  { what: "chunk indexes", args: ["--chunksize=65536", "-Eforce-chunk-indexes"] },
  { what: "a blob device", args: ["--chunksize=65536"], blobdev: true },
  { what: "inline tails", args: [], lab: true },
  { what: "a blob device", args: ["--chunksize=65536"], blobdev: true, lab: true },
  { what: "long xattr prefixes", args: ["--xattr-prefix=trusted.overlay.", "--xattr-prefix=user.shared."], lab: true },
  {
    what: "an xattr filter and padded root xattrs",
    args: ["-Exattr-name-filter", "--root-xattr-isize=300"],
    lab: true,
  },
];

describe("images of mkfs.erofs", () => {
  let dir: string;
  let source: string;
  const mounts: string[] = [];
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "erofs-reader-"));
    source = join(dir, "source");
    mkdirSync(source);
    fillSource(source);
  });
  after(() => {
    for (const mount of mounts) execFileSync("umount", [mount]);
    rmSync(dir, { recursive: true });
  });

  function make({ args, lab, blobdev }: Variant, name: string): { image: Buffer; path: string; devices: ByteSource[] } {
    const path = join(dir, `${name}.erofs`);
    const blob = join(dir, `${name}.blob`);
    const all = ["--quiet", ...args, ...(blobdev === true ? [`--blobdev=${blob}`] : []), path, source];
    if (lab === true) execFileSync(RUN_IN_LAB, ["--part", "utils", "--bind", dir, "--", "mkfs.erofs", ...all]);
    else execFileSync("mkfs.erofs", all, { stdio: "ignore" });
    return { image: readFileSync(path), path, devices: blobdev === true ? [bytesSource(readFileSync(blob))] : [] };
  }

  for (const [i, variant] of VARIANTS.entries())
    test(`${variant.lab === true ? "the lab's" : "Debian's"} with ${variant.what} reads as its source`, () => {
      const { image, devices } = make(variant, `variant-${i}`);
      const reader = openErofs(bytesSource(image));
      const tree = reader.toTree();
      const expected = treeOfDirectory(source);
      if (variant.args.includes("--ignore-mtime")) {
        forgetTimes(expected);
        forgetTimes(tree);
      }
      assert.deepEqual([...dumpTree(tree)], [...dumpTree(expected)]);
      assert.deepEqual(checkErofs(bytesSource(image)).problems, []);
      for (const [path, inode] of files(expected)) {
        const onDisk = reader.inode(reader.resolve(path));
        const content = Buffer.concat([...readFileRange(reader, onDisk, devices, 0, inode.size)]);
        assert.ok(content.equals(readFileSync(Buffer.from(source + path, "latin1"))), path);
      }
    });

  test("the tree is what the kernel shows of the mounted image", () => {
    const { image, path } = make(VARIANTS[0]!, "mounted");
    const mount = join(dir, "mnt");
    mkdirSync(mount);
    execFileSync("mount", ["-t", "erofs", "-o", "ro,loop", path, mount]);
    mounts.push(mount);
    assert.deepEqual([...dumpTree(openErofs(bytesSource(image)).toTree())], [...dumpTree(treeOfDirectory(mount))]);
  });

  for (const [what, args, expected] of [
    ["48-bit addresses", ["-E48bit"], /48-bit block addresses/],
    ["a compressed metabox", ["-zlz4", "-m4096"], /metabox/],
    ["blocks of 1 KiB", ["-b1024"], /found 10, only 12/],
  ] as const)
    test(`an image with ${what} is refused by name`, () => {
      const { image } = make({ what, args, lab: true }, `refused-${args[0]}`);
      assert.throws(() => openErofs(bytesSource(image)), {
        name: "FormatError",
        code: "ERR_UNSUPPORTED",
        message: expected,
      });
    });

  test("of a compressed image all but the compressed data reads", () => {
    const { image } = make({ what: "", args: ["-zlz4"] }, "compressed");
    const reader = openErofs(bytesSource(image));
    const compressed = reader.inode(reader.resolve("/size-3000001"));
    assert.throws(() => reader.extents(compressed), { code: "ERR_UNSUPPORTED", message: /compressed data/ });
    assert.equal(reader.readlink(reader.inode(reader.resolve("/d/sym", false))), "../size-1");
    const { problems } = checkErofs(bytesSource(image));
    assert.ok(problems.length > 0 && problems.every(({ detail }) => /compressed data/.test(detail)));
  });

  test("flipped bytes cause typed errors only", () => {
    const { image } = make({ what: "", args: ["--chunksize=4096", "-x1"] }, "damaged");
    for (let seed = 0; seed < 60; seed++) {
      const copy = Buffer.from(image);
      damage(copy, new Random(seed));
      try {
        exercise(copy);
      } catch (cause) {
        throw new Error(`seed ${seed}`, { cause });
      }
    }
  });
});

function forgetTimes(tree: Tree): void {
  const todo: Inode[] = [tree.root];
  for (let inode = todo.pop(); inode !== undefined; inode = todo.pop()) {
    inode.mtimeSeconds = 0;
    inode.mtimeNanos = 0;
    todo.push(...(inode.children?.values() ?? []));
  }
}

/** The regular files of a tree, small ones of the large directory left out but for a few. */
function files(tree: Tree): [string, Inode][] {
  const found: [string, Inode][] = [];
  const todo: [string, Inode][] = [["", tree.root]];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const [path, inode] = next;
    if (inode.type === S_IFREG) found.push([path, inode]);
    for (const [name, child] of inode.children ?? [])
      if (!/^entry-\d*[1-9]-/.test(name)) todo.push([`${path}/${name}`, child]);
  }
  return found;
}
