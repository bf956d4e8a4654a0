import assert from "node:assert/strict";
import { closeSync, constants, fstatSync, ftruncateSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Random } from "../../../formats/bytes/testing.ts";
import { RANGE_BYTES } from "../../fuse/index.ts";
import { allocAligned, PAGE_SIZE } from "../../sys/index.ts";
import { DaxWindowTable, WindowTable } from "./index.ts";
import { type Failure, Killed, VmmWindow } from "./testing-vmm.ts";

const dir = mkdtempSync(join(tmpdir(), "window-fuzz-"));
after(() => rmSync(dir, { recursive: true }));

const RANGES = 5;
const BYTES = RANGES * RANGE_BYTES;
/** Tables, which nothing else keeps from being collected. */
const held: Buffer[] = [];
const PAGES = RANGE_BYTES / PAGE_SIZE;
const FILES = 3;
const STEPS = 120;
const FAILURES: readonly Failure[] = ["interrupted before", "interrupted after", "killed before", "killed after"];

/**
 * A guest, files and a VMM, and random steps of the guest: what it may look at after each step is mapped, and is what it
 * takes it for. `faults` says how many of a hundred steps are broken off; a step that was is made again, as a request is.
 */
function run(seed: number, faults: number): void {
  const random = new Random(seed);
  const { address, bytes: memory } = allocAligned(WindowTable.bytes(BYTES));
  memory.fill(0);
  held.push(memory);
  const vmm = new VmmWindow(BYTES);
  const paths = Array.from({ length: FILES }, (_, file) => join(dir, `${file}`));
  const files = paths.map((path) => openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC));
  const inodes = files.map((fd) => fstatSync(fd).ino);
  const sizes = files.map(() => 0);
  const open = (file: number) => openSync(paths[file]!, constants.O_RDWR);
  // Two threads have a window object each, over the same table.
  const make = () =>
    new DaxWindowTable({ address, bytes: BYTES, mapper: vmm, reopen: (node) => open(node - 1), alias: null });
  let windows = [make(), make()];
  const guest: ({ file: number; range: number } | null)[] = Array.from({ length: RANGES }, () => null);

  /** Ranges that the guest asked to be mapped and gave up when that was broken off: it does not look there. */
  const abandoned = new Set<number>();

  /** Makes a step, again and again until it is done, or `patience` is at an end. */
  const act = (step: (window: DaxWindowTable) => number, patience = Number.POSITIVE_INFINITY): number => {
    if (random.chance(faults)) vmm.failure = random.of(FAILURES);
    for (let attempt = 1; ; attempt++) {
      try {
        const status = step(random.of(windows));
        vmm.failure = null;
        if (status !== -4 || attempt >= patience) return status;
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
        const { table } = windows[0]!;
        for (const [range, fd] of table.fd.entries()) if (table.node[range] !== 0 && fd >= 0) closeSync(fd);
        windows = [make(), make()];
        windows[0]!.table.recover();
        if (attempt >= patience) return -4;
      }
    }
  };
  const setSize = (file: number, bytes: number) => {
    if (bytes < sizes[file]!)
      assert.equal(
        act((window) => window.shrink(file + 1, bytes)),
        0,
      );
    ftruncateSync(files[file]!, bytes);
    if (bytes > sizes[file]!)
      assert.equal(
        act((window) => window.grow(file + 1, bytes)),
        0,
      );
    sizes[file] = bytes;
  };
  const steps: (() => void)[] = [
    () => {
      const at = random.below(RANGES);
      const mapping = { file: random.below(FILES), range: random.below(3) };
      // Linux never maps a range of a file twice, nor another one where one is mapped, unless for writing.
      if (guest.some((other, i) => i !== at && other?.file === mapping.file && other.range === mapping.range)) return;
      const { file, range } = guest[at] ?? mapping;
      const patience = random.chance(30) ? 1 : Number.POSITIVE_INFINITY;
      const map = (window: DaxWindowTable) => window.map(file + 1, open(file), range * RANGE_BYTES, at * RANGE_BYTES);
      const status = act(map, patience);
      if (status === -4) abandoned.add(at);
      else {
        assert.equal(status, 0);
        guest[at] = { file, range };
        abandoned.delete(at);
      }
    },
    () => {
      const at = random.below(RANGES);
      const count = 1 + random.below(RANGES - at);
      assert.equal(
        act((window) => window.remove(at * RANGE_BYTES, count * RANGE_BYTES)),
        0,
      );
      guest.fill(null, at, at + count);
      for (let range = at; range < at + count; range++) abandoned.delete(range);
    },
    () => {
      const file = random.below(FILES);
      setSize(file, Math.min(3 * RANGE_BYTES, sizes[file]! + 1 + random.below(3 * PAGE_SIZE)));
    },
    () => setSize(random.below(FILES), random.below(3 * RANGE_BYTES)),
    () => setSize(random.below(FILES), random.of([0, PAGE_SIZE, RANGE_BYTES, RANGE_BYTES + 1, 3 * RANGE_BYTES])),
    () => {
      if (!random.chance(10)) return;
      if (random.chance(50)) {
        // Perhaps broken off: the next to map anything looks after what is left.
        const status = act((window) => {
          window.removeAll();
          return window.table.isStale ? -4 : 0;
        }, 1);
        for (let range = 0; range < RANGES; range++) if (status === -4) abandoned.add(range);
      } else {
        vmm.reset();
        for (const window of windows) window.forgetAll();
        abandoned.clear();
      }
      guest.fill(null);
    },
  ];
  for (let step = 0; step < STEPS; step++) {
    random.of(steps)();
    for (const [at, mapping] of guest.entries()) {
      if (abandoned.has(at)) continue;
      const pages =
        mapping === null
          ? 0
          : Math.max(0, Math.min(PAGES, Math.ceil((sizes[mapping.file]! - mapping.range * RANGE_BYTES) / PAGE_SIZE)));
      // All borders, and some pages between them.
      for (const page of [0, 1, pages - 1, pages, PAGES - 1, random.below(PAGES), random.below(PAGES)]) {
        if (page < 0 || page >= PAGES) continue;
        const expected =
          mapping !== null && page < pages ? `${inodes[mapping.file]}:${mapping.range * PAGES + page}` : null;
        assert.equal(vmm.page(at * PAGES + page), expected, `seed ${seed}, step ${step}, range ${at}, page ${page}`);
      }
    }
  }
  if (abandoned.size === 0) assert.equal(vmm.pieces, windows[0]!.table.pieces());
  for (const window of windows) window.forgetAll();
  for (const fd of files) closeSync(fd);
}

test("what a guest may look at is always mapped, and nothing else", () => {
  for (let seed = 1; seed <= 60; seed++) run(seed, 0);
});

test("so it is when calls are broken off and processes killed in the midst of them", () => {
  for (let seed = 1; seed <= 120; seed++) run(seed, 30);
});
