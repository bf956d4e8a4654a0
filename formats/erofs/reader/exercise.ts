/** For tests with damaged images: everything that can be asked of one. */
import assert from "node:assert/strict";
import { bytesSource, FormatError } from "../../bytes/index.ts";
import { dumpTree, S_IFLNK, S_IFREG, type Tree } from "../../tree/index.ts";
import { checkErofs, imageStats } from "../check/index.ts";
import { type ErofsReader, openErofs, readFileRange } from "./reader.ts";
import { PathError } from "./resolve.ts";

/** The longest that one operation on an image of a test may take: a hang, not slowness, is what it finds. */
const MAX_MS = 2000;
/** Bytes read of each file, and names asked for in each directory. */
const MAX_READ_BYTES = 4 * 2 ** 20;
const MAX_NAMES = 50;

/** Runs `step`; only FormatError and PathError may escape it, and it must end in time. Undefined when one did. */
function survive<T>(step: () => T): T | undefined {
  const started = performance.now();
  try {
    return step();
  } catch (error) {
    assert.ok(error instanceof FormatError || error instanceof PathError, error as Error);
    return undefined;
  } finally {
    const tookMs = performance.now() - started;
    assert.ok(tookMs < MAX_MS, `took ${tookMs.toFixed()} ms`);
  }
}

/**
 * Asks a perhaps damaged image for everything. Returns whether the whole tree could be read.
 * @throws AssertionError when anything but a typed error escapes, or when the checker passes what the reader refuses
 */
export function exercise(image: Buffer): boolean {
  const source = bytesSource(image);
  const reader = survive(() => openErofs(source, { verifyChecksum: false }));
  const check = checkWithin(() => checkErofs(source));
  if (reader === undefined) {
    assert.ok(check.problemCount > 0, "what cannot be opened has a problem");
    return false;
  }
  const tree = survive(() => reader.toTree());
  if (tree === undefined) assert.ok(check.problemCount > 0, "what cannot be read as a tree has a problem");
  else dumpStart(tree);
  checkWithin(() => imageStats(reader));
  askFirstInodes(reader);
  return tree !== undefined;
}

/** The checker throws nothing at all. */
function checkWithin<T>(step: () => T): T {
  const started = performance.now();
  const result = step();
  assert.ok(performance.now() - started < MAX_MS, "the check takes too long");
  return result;
}

function dumpStart(tree: Tree): void {
  let left = 1000;
  for (const _line of dumpTree(tree, { extents: true })) if (--left === 0) break;
}

/** Single look-ups, over the inodes that the root leads to first. */
function askFirstInodes(reader: ErofsReader): void {
  const todo = [reader.rootNid];
  for (let asked = 0; asked < 100 && todo.length > 0; asked++) {
    const inode = survive(() => reader.inode(todo.shift()!));
    if (inode === undefined) continue;
    survive(() => reader.xattrs(inode));
    if (inode.type === S_IFLNK) survive(() => reader.readlink(inode));
    if (inode.type === S_IFREG) {
      survive(() => reader.inlineTail(inode));
      survive(() => reader.extents(inode));
      survive(() => {
        let left = MAX_READ_BYTES;
        for (const piece of readFileRange(reader, inode, [], 0, inode.size)) {
          left -= piece.length;
          if (left < 0) break;
        }
      });
    }
    if (!inode.isDirectory) continue;
    survive(() => {
      let left = MAX_NAMES;
      for (const { name, nid } of reader.readdir(inode)) {
        if (name !== "." && name !== "..") todo.push(nid);
        survive(() => reader.lookup(inode, name));
        survive(() => reader.resolve(`/${name}/x`));
        if (--left === 0) break;
      }
    });
  }
}
