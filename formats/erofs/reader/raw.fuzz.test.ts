import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesSource, FormatError, fromBytes } from "../../bytes/index.ts";
import { Random } from "../../bytes/testing.ts";
import { BLOCK_SIZE, S_IFREG } from "../../tree/index.ts";
import { writeErofs } from "../writer/index.ts";
import { damage } from "./damage.ts";
import { dirBlockCount } from "./dirents.ts";
import type { ErofsExtent } from "./extents.ts";
import { findDirent, RawDirBlock } from "./find-dirent.ts";
import { BlockRun, findRun } from "./find-run.ts";
import type { ErofsInode } from "./inode.ts";
import { randomTree } from "./random-tree.ts";
import { RawXattrs } from "./raw-xattrs.ts";
import { type ErofsReader, openErofs } from "./reader.ts";

// What a server uses, by bytes and without allocation, against the reader for people: the same of sound images, typed errors
// of damaged ones.

const image = (seed: number) => Buffer.from(writeErofs(randomTree(seed, 300), { layout: "devices" }).meta);

/** All that is asked of an inode. @param asked called with each of its parts by both ways */
function askAll(reader: ErofsReader, inode: ErofsInode, random: Random): number[] {
  const raw = new RawXattrs(reader.image);
  const block = new RawDirBlock();
  raw.start(inode);
  const xattrs: { name: string; value: string }[] = [];
  while (raw.next()) {
    const name = fromBytes(raw.prefix) + fromBytes(raw.bytes, raw.nameAt, raw.nameAt + raw.nameBytes);
    assert.ok(raw.isNamed(Buffer.from(`x${name}`, "latin1"), 1, name.length));
    xattrs.push({ name, value: fromBytes(raw.bytes, raw.valueAt, raw.valueAt + raw.valueBytes) });
  }
  xattrs.sort((a, b) => (a.name < b.name ? -1 : 1));
  assert.deepEqual(xattrs, reader.xattrs(inode));
  if (inode.type === S_IFREG) compareRuns(reader, inode, random);
  if (!inode.isDirectory) return [];
  const entries = [...reader.readdir(inode)];
  const read: string[] = [];
  for (let index = 0; index < dirBlockCount(inode); index++) {
    block.load(reader.image, inode, index);
    for (let i = 0; i < block.count; i++) {
      block.select(i);
      assert.ok(block.isName);
      read.push(`${fromBytes(block.bytes, block.nameAt, block.nameAt + block.nameBytes)} ${block.nid(i)}`);
    }
  }
  assert.deepEqual(
    read,
    entries.map(({ name, nid }) => `${name} ${nid}`),
  );
  const find = (name: string) =>
    findDirent(reader.image, inode, Buffer.from(`//${name}`, "latin1"), 2, name.length, block);
  for (const { name, nid } of entries) {
    assert.equal(find(name), nid);
    for (const other of [`${name}\x01`, name.slice(0, -1) || "\x01", `\x01${name}`])
      assert.equal(find(other), reader.lookup(inode, other)?.nid ?? -1);
  }
  return entries.filter(({ name }) => name !== "." && name !== "..").map(({ nid }) => nid);
}

/** The file's blocks by runs that start anywhere, against its extents. */
function compareRuns(reader: ErofsReader, inode: ErofsInode, random: Random): void {
  const expected = blocksOf(reader.extents(inode));
  const run = new BlockRun();
  for (let tries = 0; tries < 5; tries++) {
    const start = random.below(expected.length + 1);
    const wanted = 1 + random.below(tries === 0 ? 10_000 : 8);
    if (start === Math.ceil(inode.size / BLOCK_SIZE)) continue;
    findRun(reader.image, inode, start, wanted, run);
    assert.ok(run.blocks <= wanted);
    if (start === expected.length) assert.equal(run.blocks, 0, "behind the inode");
    else assert.ok(run.blocks > 0);
    for (let i = 0; i < run.blocks; i++)
      assert.equal(run.device < 0 ? "hole" : `${run.device} ${run.blkAddr + i}`, expected[start + i]);
    const next = expected[start + run.blocks];
    const last = expected[start + run.blocks - 1];
    if (run.blocks > 0 && run.blocks < wanted && next !== undefined) assert.notEqual(next, follows(last!));
  }
}

const blocksOf = (extents: readonly ErofsExtent[]) =>
  extents.flatMap(({ device, blkAddr, blocks }) =>
    Array.from({ length: blocks }, (_, i) => (device < 0 ? "hole" : `${device} ${blkAddr + i}`)),
  );

function follows(block: string): string {
  if (block === "hole") return block;
  const [device, address] = block.split(" ");
  return `${device} ${Number(address) + 1}`;
}

test("lookups, runs and attributes by bytes say what the reader says", () => {
  for (let seed = 0; seed < 30; seed++) {
    const reader = openErofs(bytesSource(image(seed)));
    const random = new Random(seed);
    const todo = [reader.rootNid];
    for (let nid = todo.pop(); nid !== undefined; nid = todo.pop())
      todo.push(...askAll(reader, reader.inode(nid), random));
  }
});

test("damaged images cause typed errors only", () => {
  const images = [2, 4, 7].map(image);
  let broken = 0;
  for (let seed = 0; seed < 600; seed++) {
    const bytes = Buffer.from(images[seed % images.length]!);
    const random = new Random(seed);
    damage(bytes, random);
    broken += useDamaged(bytes);
  }
  assert.ok(broken > 20, `${broken} errors`);
});

/** @returns how many typed errors there were */
function useDamaged(bytes: Buffer): number {
  let errors = 0;
  const attempt = (step: () => void) => {
    try {
      step();
    } catch (error) {
      assert.ok(error instanceof FormatError, error as Error);
      errors++;
    }
  };
  attempt(() => {
    const reader = openErofs(bytesSource(bytes), { verifyChecksum: false });
    const block = new RawDirBlock();
    const raw = new RawXattrs(reader.image);
    const run = new BlockRun();
    const todo = [reader.rootNid];
    for (let asked = 0; asked < 300 && todo.length > 0; asked++)
      attempt(() => {
        const inode = reader.inode(todo.shift()!);
        attempt(() => {
          raw.start(inode);
          for (let left = 1000; left > 0 && raw.next(); left--);
        });
        if (inode.type === S_IFREG && inode.size > 0)
          attempt(() => {
            for (let at = 0, left = 100; left > 0 && at < Math.ceil(inode.size / BLOCK_SIZE); left--) {
              findRun(reader.image, inode, at, 512, run);
              assert.ok(run.blocks >= 0 && run.blocks <= 512);
              at += Math.max(1, run.blocks);
            }
          });
        if (!inode.isDirectory) return;
        attempt(() => void findDirent(reader.image, inode, Buffer.from("name"), 0, 4, block));
        for (let index = 0; index < Math.min(20, dirBlockCount(inode)); index++) {
          block.load(reader.image, inode, index);
          for (let i = 0; i < block.count; i++) {
            block.select(i);
            assert.ok(block.nameBytes > 0 && block.nameBytes <= 255);
            attempt(() => void todo.push(block.nid(i)));
          }
        }
      });
  });
  return errors;
}
