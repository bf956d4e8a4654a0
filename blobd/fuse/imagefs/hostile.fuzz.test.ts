import assert from "node:assert/strict";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Random } from "../../../formats/bytes/testing.ts";
import { writeErofs } from "../../../formats/erofs/writer/index.ts";
import { EntryOut, Opcode, ReadIn } from "../../../formats/fuse/index.ts";
import { type BlobRef, Inode, S_IFDIR, S_IFLNK, S_IFREG } from "../../../formats/tree/index.ts";
import { type DaxWindow, type MappingPieces, RANGE_BYTES } from "../index.ts";
import { fill, hostileMessage, TestClient } from "../testing/index.ts";
import { closeImageShared, createImageShared, type ImageConfig, openImage } from "./index.ts";

// Damaged images, and hostile guests, straight into the server: typed outcomes, no mistake of ours in the log.

const work = mkdtempSync(join(tmpdir(), "imagefs-fuzz-"));
after(() => rmSync(work, { recursive: true }));
const BLOCK = 4096;
const BLOB_BLOCKS = 1024;
const blob: BlobRef = { digestHex: "ab".repeat(32), blocks: BLOB_BLOCKS };

function node(mode: number, fields: Partial<Inode>): Inode {
  return Object.assign(new Inode(mode), fields);
}

/** An image with the names that hostile messages use, files in a row, in pieces, with holes, and inline. */
function makeImage(): Buffer {
  const run = (startBlock: number, blocks: number) => ({ blob: 0, startBlock, blocks });
  const hole = (blocks: number) => ({ blob: -1, startBlock: 0, blocks });
  const root = new Inode(S_IFDIR | 0o755);
  const d = new Inode(S_IFDIR | 0o755);
  const pieces = Array.from({ length: 40 }, (_, i) => (i % 3 === 2 ? hole(1) : run(i * 7, 1)));
  root.children!.set("a", node(S_IFREG | 0o644, { size: 600 * BLOCK - 5, extents: [run(3, 600)] }));
  root.children!.set("b", node(S_IFREG | 0o644, { size: 40 * BLOCK, extents: pieces }));
  root.children!.set("d", d);
  d.children!.set("a", node(S_IFREG | 0o644, { size: 100, inlineData: Buffer.alloc(100, "inline") }));
  d.children!.set("b", node(S_IFLNK | 0o777, { target: "../a" }));
  for (let i = 0; i < 400; i++) d.children!.set(`name${i}`, node(S_IFREG | 0o600, { size: 0, extents: [] }));
  d.xattrs = [{ name: "user.x", value: "value" }];
  return Buffer.from(writeErofs({ root, blobs: [blob] }, { layout: "devices" }).meta);
}
const IMAGE = makeImage();
const blobPath = join(work, "blob");
writeFileSync(blobPath, Buffer.alloc(BLOB_BLOCKS * BLOCK, "of the blob "));

class CheckingWindow implements DaxWindow {
  readonly bytes = 8 * RANGE_BYTES;
  mapped = 0;
  map(): number {
    assert.fail("images are mapped in pieces");
  }
  mapPieces(nodeId: number, pieces: MappingPieces, fileOffset: number, windowOffset: number): number {
    assert.ok(nodeId > 0 && fileOffset % RANGE_BYTES === 0 && windowOffset + RANGE_BYTES <= this.bytes);
    assert.ok(pieces.pages <= RANGE_BYTES / BLOCK && pieces.count <= 16);
    for (let i = 0; i < pieces.count; i++) assert.ok(pieces.fd[i]! >= 0 && pieces.fileOffset[i]! % BLOCK === 0);
    this.mapped++;
    return 0;
  }
  remove(offset: number, bytes: number): number {
    assert.ok(offset >= 0 && offset + bytes <= this.bytes);
    return 0;
  }
  grow(): number {
    assert.fail("an image does not grow");
  }
  shrink(): number {
    assert.fail("an image does not shrink");
  }
  removeAll(): void {}
}

/** Serves an image for the time of `use`. @returns false when it is refused as a whole */
function withImage(image: Uint8Array, use: (client: TestClient, window: CheckingWindow) => void): void {
  const metaPath = join(work, "image.erofs");
  writeFileSync(metaPath, image);
  const config: ImageConfig = { kind: "image", metaPath, devicePaths: [blobPath], dax: "always", daxTrusted: true };
  const shared = createImageShared(config);
  const window = new CheckingWindow();
  const client = new TestClient(openImage(config, shared, window), undefined, true);
  assert.equal(client.init(), 0);
  use(client, window);
  assert.deepEqual(client.log, []);
  closeImageShared(shared);
}

function attack(client: TestClient, random: Random, messages: number): Set<number> {
  const nodes = [1, 1, 1, 0, 2 ** 32 + 1, 2 ** 53 - 1, 2];
  const reached = new Set<number>();
  for (let i = 0; i < messages; i++) {
    const message = hostileMessage(random, nodes, [0, 1, 2 ** 53 - 1]);
    if (message.opcode === Opcode.DESTROY || message.opcode === Opcode.INIT) continue;
    const status = client.raw(message.input, message.data, message.limit);
    assert.ok(Number.isInteger(status) && status >= -511 && status <= 2, `opcode ${message.opcode}: ${status}`);
    if (status !== 0) continue;
    reached.add(client.request.opcode);
    if (client.request.opcode !== Opcode.LOOKUP) continue;
    const found = EntryOut.view(client.reply).nodeid;
    if (found !== 0 && !nodes.includes(found)) nodes.push(found);
  }
  return reached;
}

test("hostile messages: typed outcomes, and every operation that there is has worked", () => {
  withImage(IMAGE, (client, window) => {
    const reached = attack(client, new Random(1), 60_000);
    for (const name of ["LOOKUP", "GETATTR", "READ", "READDIR", "READDIRPLUS", "READLINK", "STATFS"] as const)
      assert.ok(reached.has(Opcode[name]), name);
    assert.ok(window.mapped > 0);
  });
});

test("damaged images: messages have typed outcomes", () => {
  let refused = 0;
  for (let seed = 0; seed < 300; seed++) {
    const random = new Random(seed);
    const image = Buffer.from(IMAGE);
    // Superblock and device table seldom: such an image is refused as a whole.
    for (let flips = 1 + random.below(6); flips > 0; flips--) {
      const at = random.chance(10) ? 1024 + random.below(300) : 1280 + random.below(image.length - 1280);
      image[at] = random.chance(50) ? random.of([0, 1, 0x7f, 0x80, 0xff]) : random.below(256);
    }
    image.writeUInt32LE(image.readUInt32LE(1024 + 8) & ~1, 1024 + 8); // No checksum.
    try {
      withImage(image, (client) => attack(client, random, 300));
    } catch (error) {
      if ((error as Error).name !== "FormatError") throw new Error(`seed ${seed}`, { cause: error });
      refused++;
    }
  }
  assert.ok(refused < 150, `${refused} refused as a whole`);
});

test("a blob that is shorter than the image says gives EIO, not zeros", () => {
  withImage(IMAGE, (client) => {
    assert.equal(client.call(Opcode.LOOKUP, { names: ["a"] }), 0);
    const { nodeid } = EntryOut.view(client.reply);
    const read = (offset: number) =>
      client.call(Opcode.READ, { nodeId: nodeid, args: fill(ReadIn, { offset, size: 8192 }) });
    assert.equal(read(0), 0);
    assert.equal(client.reply.length, 8192);
    truncateSync(blobPath, 10 * BLOCK);
    assert.equal(read(20 * BLOCK), -5);
    assert.equal(read(6 * BLOCK), -5, "a part of it is there");
    assert.equal(read(0), 0);
  });
});
