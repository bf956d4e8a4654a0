/** Random images for tests: layers as archive entries, and the tree that a sound unpacker makes of them. */

import { createHash } from "node:crypto";
import { type ByteString, escapeBytes } from "../../formats/bytes/index.ts";
import { Random } from "../../formats/bytes/testing.ts";
import type { TarEntry, TreeDescription } from "../testkit/index.ts";

/** One inode of the model. Hard links are one object under several names. */
interface Node {
  /** typeflag of its entry: `0` file, `2` symlink, `3`, `4` devices, `5` directory, `6` fifo. */
  readonly type: string;
  mode: number;
  uid: number;
  gid: number;
  mtimeNs: bigint;
  xattrs: Record<string, string>;
  readonly content: Buffer;
  readonly target: ByteString;
  readonly device: readonly [number, number];
  readonly children: Map<ByteString, Node>;
}

export interface RandomImage {
  readonly layers: readonly TarEntry[][];
  readonly tree: TreeDescription;
}

const NANOS = 1_000_000_000n;
const TYPE_BITS: Readonly<Record<string, number>> = {
  "0": 0o100000,
  "2": 0o120000,
  "3": 0o020000,
  "4": 0o060000,
  "5": 0o040000,
  "6": 0o010000,
};
const NAMES = ["a", "b", "c", "d", "e", "lib", "x.y", "\xe9\xff", "new\nline", "n".repeat(255), "...", ".wha"];
/** Around every boundary of block, unit and huge page; the last but one is two whole units. */
const SIZES = [0, 1, 5, 4095, 4096, 4097, 9000, 70_000, 2097151, 2097152, 2097153, 4194304, 4194305];
const TIMES = [0n, 1n, -1n, -NANOS, -NANOS - 1n, 1_700_000_000n * NANOS, 5_000_000_000n * NANOS + 7n];

/** An image of one to four layers, and its tree. */
export function randomImage(seed: number): RandomImage {
  const generator = new Generator(new Random(seed));
  const layers = Array.from({ length: 1 + (seed % 4) }, () => generator.layer());
  return { layers, tree: describe(generator.root) };
}

class Generator {
  readonly root: Node = impliedDirectory();
  private readonly random: Random;
  private entries: TarEntry[] = [];

  constructor(random: Random) {
    this.random = random;
  }

  /** Adds a layer: what it takes away from lower ones happens first, wherever its marks stand in the archive. */
  layer(): TarEntry[] {
    const { random } = this;
    const marks = this.takeAway();
    this.entries = [];
    for (let left = 10 + random.below(60); left > 0; left--) this.addEntry();
    for (const { entry, path, dir } of marks) {
      // Where a mark's directory was replaced, it has to come before that.
      const stays = this.childrenAt(path) === dir.children;
      this.entries.splice(stays ? random.below(this.entries.length + 1) : 0, 0, entry);
    }
    return this.entries;
  }

  private childrenAt(path: ByteString): Node["children"] | undefined {
    let node: Node | undefined = this.root;
    for (const name of path.split("/").filter((part) => part !== "" && part !== ".")) node = node?.children.get(name);
    return node?.children;
  }

  private takeAway(): { entry: TarEntry; path: ByteString; dir: Node }[] {
    const marks: { entry: TarEntry; path: ByteString; dir: Node }[] = [];
    for (let left = this.random.below(6); left > 0; left--) {
      const [dir, path] = this.directory();
      const name = this.random.of([...dir.children.keys(), "never-was"]);
      if (this.random.chance(15)) {
        marks.push({ entry: { name: `${path}.wh..wh..opq` }, path, dir });
        dir.children.clear();
      } else if (name.length <= 251) {
        marks.push({ entry: { name: `${path}.wh.${name}` }, path, dir });
        dir.children.delete(name);
      }
    }
    // A mark implies its directory: none is left in what another one takes away.
    return marks.filter(({ path, dir }) => this.childrenAt(path) === dir.children);
  }

  /** A directory of the tree, and the path of what is in it, which ends with a slash or is empty. */
  private directory(): [Node, ByteString] {
    let [dir, path] = [this.root, this.random.of(["", "./"])];
    while (this.random.chance(70)) {
      const below = [...dir.children].filter(([, { type }]) => type === "5");
      if (below.length === 0) break;
      const [name, child] = this.random.of(below);
      [dir, path] = [child, `${path}${name}/`];
    }
    return [dir, path];
  }

  private addEntry(): void {
    const { random } = this;
    const [dir, path] = this.directory();
    const name = random.of(NAMES);
    const type = random.of(["0", "0", "0", "0", "0", "5", "5", "2", "3", "4", "6"]);
    if (random.chance(12)) this.addLink(dir, path, name);
    else if (random.chance(5)) {
      // A parent that no entry names.
      const parent = `implied${random.below(5)}`;
      const child = dir.children.get(parent) ?? impliedDirectory();
      dir.children.set(parent, child);
      this.addNode(child, `${path}${parent}/`, name, type);
    } else this.addNode(dir, path, name, type);
  }

  private addLink(dir: Node, path: ByteString, name: ByteString): void {
    const [source, sourcePath] = this.directory();
    const files = [...source.children].filter(([, { type }]) => type !== "5");
    if (files.length === 0 || dir.children.get(name)?.type === "5") return;
    const [targetName, target] = this.random.of(files);
    if (dir.children.get(name) === target) return;
    this.entries.push({ name: path + name, type: "1", link: sourcePath + targetName });
    dir.children.set(name, target);
  }

  private addNode(dir: Node, path: ByteString, name: ByteString, type: string): void {
    const { random } = this;
    const old = dir.children.get(name);
    const node: Node = {
      type,
      mode: random.of([0o644, 0o755, 0o600, 0o7777, 0]),
      uid: random.of([0, 0, 1000, 70_000]),
      gid: random.of([0, 0, 100, 70_000]),
      mtimeNs: random.of(TIMES),
      xattrs: random.chance(15) ? this.xattrs(type) : {},
      content: type === "0" ? this.content() : Buffer.alloc(0),
      target: type === "2" ? random.of(["/nowhere", "a", "../..", "t".repeat(4000)]) : "",
      device: type === "3" || type === "4" ? [random.of([1, 259, 4095]), random.of([1, 255, 300_000])] : [0, 0],
      // A directory keeps what is in it.
      children: type === "5" && old?.type === "5" ? old.children : new Map(),
    };
    dir.children.set(name, node);
    this.entries.push(entryOf(path + name + (type === "5" ? random.of(["", "/"]) : ""), node));
  }

  /** Linux shows `user.` attributes of files and directories only. */
  private xattrs(type: string): Record<string, string> {
    const user = type === "0" || type === "5" ? { "user.a": this.random.of(["", "1", "\0\xff"]) } : {};
    return { ...user, "trusted.b": this.random.of(["2", "v".repeat(3000)]) };
  }

  /** Few contents, so that duplicates occur; some of zeros, some that differ in their last byte only. */
  private content(): Buffer {
    const content = Buffer.alloc(this.random.chance(90) ? this.random.of(SIZES.slice(0, 8)) : this.random.of(SIZES));
    if (this.random.chance(70)) content.fill(this.random.of(["abc", "x", "0123456789abcdef!"]));
    if (content.length > 0 && this.random.chance(20)) content[content.length - 1] = this.random.below(256);
    return content;
  }
}

function impliedDirectory(): Node {
  const [uid, gid, target, device] = [0, 0, "", [0, 0] as const];
  const content = Buffer.alloc(0);
  return { type: "5", mode: 0o755, uid, gid, mtimeNs: 0n, xattrs: {}, content, target, device, children: new Map() };
}

function entryOf(name: ByteString, { type, mode, uid, gid, mtimeNs, xattrs, content, target, device }: Node): TarEntry {
  const digits = (mtimeNs < 0n ? -mtimeNs : mtimeNs).toString().padStart(10, "0");
  const mtime = `${mtimeNs < 0n ? "-" : ""}${digits.slice(0, -9)}.${digits.slice(-9)}`;
  return { name, type, mode, uid, gid, mtime, xattrs, content, link: target, device };
}

/** The tree in describeTree's form. */
function describe(root: Node): TreeDescription {
  const names = new Map<Node, number>();
  const count = (node: Node) => {
    names.set(node, (names.get(node) ?? 0) + 1);
    for (const child of node.children.values()) count(child);
  };
  count(root);
  const description: TreeDescription = new Map();
  const firstPaths = new Map<Node, string>();
  const visit = (node: Node, path: ByteString) => {
    const escaped = escapeBytes(path || "/");
    const facts = new Map<string, string>();
    description.set(escaped, facts);
    const nanos = ((node.mtimeNs % NANOS) + NANOS) % NANOS;
    // Linux gives every symlink all permissions, whatever an archive says.
    const mode = node.type === "2" ? 0o777 : node.mode;
    facts.set("mode", ((TYPE_BITS[node.type] as number) | mode).toString(8));
    facts.set("owner", `${node.uid}:${node.gid}`);
    facts.set("mtime", `${(node.mtimeNs - nanos) / NANOS}.${nanos.toString().padStart(9, "0")}`);
    const folders = [...node.children.values()].filter(({ type }) => type === "5").length;
    const nlink = node.type === "5" ? 2 + folders : (names.get(node) as number);
    facts.set("nlink", nlink.toString());
    if (node.type !== "5" && nlink > 1) {
      if (!firstPaths.has(node)) firstPaths.set(node, escaped);
      facts.set("links", firstPaths.get(node) as string);
    }
    if (node.type === "0") {
      facts.set("size", node.content.length.toString());
      facts.set("sha256", createHash("sha256").update(node.content).digest("hex"));
    }
    if (node.type === "2") facts.set("target", escapeBytes(node.target));
    if (node.type === "3" || node.type === "4") facts.set("rdev", node.device.join(":"));
    for (const [name, value] of Object.entries(node.xattrs))
      facts.set(`xattr.${name}`, Buffer.from(value, "latin1").toString("hex"));
    for (const [name, child] of [...node.children].sort(([a], [b]) => (a < b ? -1 : 1)))
      visit(child, `${path}/${name}`);
  };
  visit(root, "");
  return description;
}
