/** Images for tests: made by the writer, then damaged byte by byte. */
import assert from "node:assert/strict";
import { type ByteString, bytesSource, FormatError } from "../../bytes/index.ts";
import { BLOCK_SIZE, type BlobRef, type Extent, Inode, S_IFDIR, S_IFLNK, S_IFREG } from "../../tree/index.ts";
import { superBlockChecksum } from "../crc32c.ts";
import { SUPER_OFFSET, SuperBlock } from "../format.ts";
import { writeErofs } from "../writer/index.ts";
import { type ErofsReader, openErofs } from "./reader.ts";

export function dir(entries: Record<ByteString, Inode> = {}): Inode {
  const inode = new Inode(S_IFDIR | 0o755);
  for (const [name, child] of Object.entries(entries)) inode.children!.set(name, child);
  return inode;
}

export function file(size: number, ...extents: Extent[]): Inode {
  return Object.assign(new Inode(S_IFREG | 0o644), { size, extents });
}

export function inlineFile(content: string): Inode {
  const inlineData = Buffer.from(content, "latin1");
  return Object.assign(new Inode(S_IFREG | 0o644), { size: inlineData.length, inlineData });
}

export function symlink(target: ByteString): Inode {
  return Object.assign(new Inode(S_IFLNK | 0o777), { target });
}

/** A blob of that many blocks. */
export function blob(blocks: number, digit = "a"): BlobRef {
  return { digestHex: digit.repeat(64), blocks };
}

/** The metadata image of a tree, writable. */
export function imageOf(root: Inode, blobs: readonly BlobRef[] = []): Buffer {
  return Buffer.from(writeErofs({ root, blobs }, { layout: "devices" }).meta);
}

/** A flat image of a tree: metadata and blob contents in one buffer. */
export function flatImageOf(root: Inode, contents: readonly Buffer[]): Buffer {
  const blobs = contents.map((content) => blob(content.length / BLOCK_SIZE));
  const { meta, blobBaseBlocks, totalBlocks } = writeErofs({ root, blobs }, { layout: "flat" });
  const image = Buffer.alloc(totalBlocks * BLOCK_SIZE);
  image.set(meta);
  for (const [i, content] of contents.entries()) image.set(content, blobBaseBlocks[i]! * BLOCK_SIZE);
  return image;
}

/** A reader of an image whose first block may have been damaged on purpose. */
export function open(image: Buffer): ErofsReader {
  return openErofs(bytesSource(image), { verifyChecksum: false });
}

/** Byte offset of the inode that `path` names. */
export function inodeOffset(image: Buffer, path: ByteString): number {
  const reader = open(image);
  return reader.inode(reader.resolve(path, false)).offset;
}

/** Changes a superblock field and makes the checksum right again. */
export function patchSuperblock(image: Buffer, field: keyof typeof SuperBlock.at, value: number): void {
  const view = SuperBlock.view(image, SUPER_OFFSET);
  (view as unknown as Record<string, number>)[field] = value;
  view.checksum = superBlockChecksum(image);
}

/** Asserts that `step` throws a FormatError about `field` whose text matches `detail`. */
export function assertFormatError(step: () => unknown, field: string, detail: RegExp): void {
  assert.throws(step, (error) => {
    assert.ok(error instanceof FormatError, `${error}`);
    assert.equal(error.field, field);
    assert.match(error.message, detail);
    return true;
  });
}
