import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { writeErofs } from "../../formats/erofs/writer/index.ts";
import * as fuse from "../../formats/fuse/index.ts";
import { type BlobRef, type Extent, HOLE, Inode, S_IFDIR, S_IFREG } from "../../formats/tree/index.ts";
import { RANGE_BYTES } from "../fuse/index.ts";
import { fill } from "../fuse/testing/index.ts";
import { BlobdVirtiofs, TestGuest } from "./testing-guest.ts";

// Images in the DAX window, with a VMM of our own: what a guest sees there is what it reads.

const { Opcode } = fuse;
const BLOCK = 4096;
const WINDOW_BYTES = 16 << 20;
const PER_RANGE = RANGE_BYTES / BLOCK;

const run = (blob: number, startBlock: number, blocks: number): Extent => ({ blob, startBlock, blocks });

/** Files in a row, in pieces of two blobs with holes, in many small pieces, and inline. */
const FILES: Readonly<Record<string, { size: number; extents?: Extent[]; inlineData?: Buffer }>> = {
  row: { size: 1000 * BLOCK - 77, extents: [run(0, 20, 1000)] },
  pieces: { size: 900 * BLOCK, extents: [run(0, 512, 300), run(1, 0, 300), run(HOLE, 0, 200), run(0, 3, 100)] },
  crumbs: { size: 60 * BLOCK, extents: Array.from({ length: 60 }, (_, i) => run(i % 2, 600 - i * 5, 1)) },
  inline: { size: 300, inlineData: Buffer.alloc(300, "inline ") },
  empty: { size: 0, extents: [] },
};

function makeImage(directory: string): string {
  const contents = [0, 1].map((blob) => {
    const bytes = Buffer.alloc(3 * PER_RANGE * BLOCK);
    for (let at = 0; at < bytes.length; at += 8) bytes.writeUInt32LE(at, at);
    return blob === 0 ? bytes : bytes.map((byte) => byte ^ 0x5a);
  });
  const blobs: BlobRef[] = contents.map((content, i) => ({
    digestHex: `${i}a`.repeat(32),
    blocks: content.length / BLOCK,
  }));
  const root = new Inode(S_IFDIR | 0o755);
  for (const [name, fields] of Object.entries(FILES))
    root.children!.set(name, Object.assign(new Inode(S_IFREG | 0o644), fields));
  mkdirSync(directory);
  for (const [i, content] of contents.entries()) writeFileSync(join(directory, blobs[i]!.digestHex), content);
  writeFileSync(join(directory, "image.erofs"), writeErofs({ root, blobs }, { layout: "devices" }).meta);
  return directory;
}

async function setup(t: TestContext, served: (image: string, directory: string) => readonly string[]) {
  const directory = mkdtempSync(join(tmpdir(), "virtiofs-images-"));
  const options = served(makeImage(join(directory, "image")), directory);
  const blobd = await BlobdVirtiofs.serve(join(directory, "socket"), options);
  const guest = await TestGuest.connect(blobd.socketPath, options.includes("always") ? WINDOW_BYTES : 0);
  t.after(async () => {
    await guest.close();
    await blobd.stop();
    rmSync(directory, { recursive: true });
  });
  await guest.init();
  const walk = async (path: string) => {
    let nodeId = 1;
    for (const name of path.split("/")) {
      const { error, body } = await guest.call(Opcode.LOOKUP, { nodeId, names: [name] });
      assert.equal(error, 0, path);
      nodeId = fuse.EntryOut.view(body).nodeid;
    }
    return nodeId;
  };
  const readAll = async (nodeId: number, size: number) => {
    const parts: Buffer[] = [];
    for (let offset = 0; offset < size; offset += 65536) {
      const args = fill(fuse.ReadIn, { offset, size: 65536 });
      const { error, body } = await guest.call(Opcode.READ, { nodeId, args, limit: 65536 });
      assert.equal(error, 0);
      parts.push(body);
    }
    return Buffer.concat(parts);
  };
  const map = async (nodeId: number, foffset: number, moffset: number) => {
    const args = fill(fuse.SetupmappingIn, { fh: 2n ** 64n - 1n, foffset, len: RANGE_BYTES, flags: 1, moffset });
    return (await guest.call(Opcode.SETUPMAPPING, { nodeId, args })).error;
  };
  return { blobd, guest, walk, readAll, map };
}

const TRUSTED = ["--dax", "always", "--dax-read-only-trusted", "--dax-window", "16M"];

/** Maps every range of every file and compares what the window shows with what is read. */
async function compareMapped(
  { guest, walk, readAll, map }: Awaited<ReturnType<typeof setup>>,
  folder: string,
): Promise<void> {
  const window = guest.frontEnd.channel!;
  for (const [name, { size }] of Object.entries(FILES)) {
    const nodeId = await walk(`${folder}${name}`);
    const data = await readAll(nodeId, size);
    assert.equal(data.length, size);
    if (name === "inline") assert.ok(data.equals(FILES.inline!.inlineData!));
    for (let offset = 0; offset < size; offset += RANGE_BYTES) {
      assert.equal(await map(nodeId, offset, offset), 0, name);
      assert.equal(await map(nodeId, offset, offset), 0, "once more, as an upgrade is");
      for (let at = offset; at < Math.min(size, offset + RANGE_BYTES); at += 15 * BLOCK) {
        const length = Math.min(BLOCK, size - at);
        assert.ok(window.read(at, length).equals(data.subarray(at, at + length)), `${name} at ${at}`);
      }
    }
  }
}

test("files in the window: in a row by one mapping, in pieces by a few, in crumbs and inline by a copy", async (t) => {
  const setting = await setup(t, (image) => ["--image", image, ...TRUSTED]);
  const { guest, walk, map } = setting;
  const { mapped } = guest.frontEnd.channel!;
  const pieces = () => [...mapped.values()].map(({ bytes }) => bytes / BLOCK).sort((a, b) => b - a);
  assert.equal(await map(await walk("row"), 0, 0), 0);
  assert.deepEqual(pieces(), [512]);
  assert.equal(await map(await walk("row"), RANGE_BYTES, 0), 0);
  assert.deepEqual(pieces(), [488]);
  assert.equal(await map(await walk("pieces"), 0, 0), 0);
  assert.deepEqual(pieces(), [300, 212]);
  assert.equal(await map(await walk("pieces"), RANGE_BYTES, 0), 0);
  assert.deepEqual(pieces(), [200, 100, 88]);
  assert.equal(await map(await walk("crumbs"), 0, 0), 0);
  assert.deepEqual(pieces(), [60]);
  await compareMapped(setting, "");
  const remove = Buffer.concat([
    fill(fuse.RemovemappingIn, { count: 2 }),
    fill(fuse.RemovemappingOne, { moffset: 0, len: RANGE_BYTES }),
    fill(fuse.RemovemappingOne, { moffset: RANGE_BYTES, len: RANGE_BYTES }),
  ]);
  assert.equal((await guest.call(Opcode.REMOVEMAPPING, { args: remove })).error, 0);
  assert.deepEqual(pieces(), []);
});

test("what is not trusted has no window, and no attribute that asks for one", async (t) => {
  const { guest, walk, map, readAll } = await setup(t, (image) => ["--image", image]);
  const nodeId = await walk("pieces");
  const { body } = await guest.call(Opcode.GETATTR, { nodeId, args: fill(fuse.GetattrIn, {}) });
  assert.equal(fuse.Attr.view(fuse.AttrOut.view(body).attr).flags & fuse.AttrFlag.DAX, 0);
  assert.ok((await map(nodeId, 0, 0)) < 0);
  assert.equal((await readAll(nodeId, 1000)).length, 65536);
});

test("a root with an image, its files and a directory: mapped side by side", async (t) => {
  const setting = await setup(t, (image, directory) => {
    mkdirSync(join(directory, "volume"));
    writeFileSync(join(directory, "volume/file"), Buffer.alloc(8192, "of the volume "));
    const mounts = [`/image=image:${image}`, `/a/files=blobs:${image}`, `/a/volume=dir:${join(directory, "volume")}`];
    return [...mounts.flatMap((mount) => ["--mount", mount]), ...TRUSTED];
  });
  const { walk, map, guest } = setting;
  await compareMapped(setting, "image/");
  const window = guest.frontEnd.channel!;
  assert.equal(await map(await walk("a/volume/file"), 0, 6 * RANGE_BYTES), 0);
  assert.equal(window.read(6 * RANGE_BYTES, 13).toString(), "of the volume");
  assert.equal(await map(await walk(`a/files/${"1a".repeat(32)}`), RANGE_BYTES, 7 * RANGE_BYTES), 0);
  assert.equal(window.read(7 * RANGE_BYTES, 4).readUInt32LE() >>> 0, (RANGE_BYTES ^ 0x5a5a5a5a) >>> 0);
  // The image's first file lies where the directory's does: node IDs must not be taken for each other.
  assert.equal(await map(await walk("image/row"), 0, 6 * RANGE_BYTES), 0);
  assert.equal(window.read(6 * RANGE_BYTES, 4).readUInt32LE(), 20 * BLOCK);
});

test("a root with images alone, supervised: when the working process is killed the next one has the same mounts", async (t) => {
  const setting = await setup(t, (image) => {
    const mounts = [`/image=image:${image}`, `/a/files=blobs:${image}`];
    return [...mounts.flatMap((mount) => ["--mount", mount]), ...TRUSTED, "--supervised", "--no-standby"];
  });
  const { blobd, walk, map, guest, readAll } = setting;
  const [row, blob] = [await walk("image/row"), await walk(`a/files/${"0a".repeat(32)}`)];
  const [rowBytes, blobBytes] = [await readAll(row, 100_000), await readAll(blob, 100_000)];
  assert.equal(await map(row, 0, 0), 0);
  process.kill(blobd.children()[0]!, "SIGKILL");
  assert.ok((await readAll(row, 100_000)).equals(rowBytes));
  assert.ok((await readAll(blob, 100_000)).equals(blobBytes));
  assert.equal(guest.frontEnd.channel!.read(0, 4).readUInt32LE(), 20 * BLOCK, "what was mapped stays");
  assert.equal(await walk("image/row"), row);
  await compareMapped(setting, "image/");
});
