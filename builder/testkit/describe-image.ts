import { createHash } from "node:crypto";
import { type ByteSource, type ByteString, escapeBytes, toBytes } from "../../formats/bytes/index.ts";
import { type ErofsInode, type ErofsReader, openErofs, readFileRange } from "../../formats/erofs/index.ts";
import { S_IFBLK, S_IFCHR, S_IFLNK, S_IFREG } from "../../formats/tree/index.ts";
import { openFileSource } from "../open/index.ts";
import type { TreeDescription } from "./describe.ts";

/**
 * Describes an EROFS image as describeTree describes a directory, by our reader instead of the kernel.
 *
 * @param devicePaths the blobs, in the order of the device table
 * @throws FormatError for a damaged image.
 */
export function describeImage(metaPath: string, devicePaths: readonly string[] = []): TreeDescription {
  const files = [metaPath, ...devicePaths].map(openFileSource);
  try {
    const [meta, ...devices] = files;
    return new ImageDescriber(openErofs(meta!), devices).describe();
  } finally {
    for (const file of files) file.close();
  }
}

class ImageDescriber {
  readonly #reader: ErofsReader;
  readonly #devices: readonly ByteSource[];
  readonly #description: TreeDescription = new Map();
  readonly #firstPaths = new Map<number, string>();

  constructor(reader: ErofsReader, devices: readonly ByteSource[]) {
    this.#reader = reader;
    this.#devices = devices;
  }

  describe(): TreeDescription {
    this.#visit(this.#reader.rootNid, "");
    return this.#description;
  }

  #visit(nid: number, path: ByteString): void {
    const inode = this.#reader.inode(nid);
    const escaped = escapeBytes(path || "/");
    const facts = new Map<string, string>();
    this.#description.set(escaped, facts);
    facts.set("mode", inode.mode.toString(8));
    facts.set("owner", `${inode.uid}:${inode.gid}`);
    facts.set("mtime", `${inode.mtimeSeconds}.${inode.mtimeNanos.toString().padStart(9, "0")}`);
    facts.set("nlink", inode.nlink.toString());
    if (!inode.isDirectory && inode.nlink > 1) {
      if (!this.#firstPaths.has(nid)) this.#firstPaths.set(nid, escaped);
      facts.set("links", this.#firstPaths.get(nid)!);
    }
    if (inode.type === S_IFREG) facts.set("size", inode.size.toString()).set("sha256", this.#hash(inode));
    if (inode.type === S_IFLNK) facts.set("target", escapeBytes(this.#reader.readlink(inode)));
    if (inode.type === S_IFCHR || inode.type === S_IFBLK) facts.set("rdev", `${inode.rdevMajor}:${inode.rdevMinor}`);
    for (const { name, value } of this.#reader.xattrs(inode))
      facts.set(`xattr.${escapeBytes(name)}`, toBytes(value).toString("hex"));
    if (!inode.isDirectory) return;
    for (const { name, nid: child } of this.#reader.readdir(inode))
      if (name !== "." && name !== "..") this.#visit(child, `${path}/${name}`);
  }

  #hash(inode: ErofsInode): string {
    const hash = createHash("sha256");
    for (const piece of readFileRange(this.#reader, inode, this.#devices, 0, inode.size)) hash.update(piece);
    return hash.digest("hex");
  }
}
