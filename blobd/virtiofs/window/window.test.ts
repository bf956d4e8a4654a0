import assert from "node:assert/strict";
import {
  closeSync,
  constants,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { RANGE_BYTES } from "../../fuse/index.ts";
import { allocAligned, PAGE_SIZE } from "../../sys/index.ts";
import { DaxWindowTable, MAX_WINDOW_BYTES, WindowTable } from "./index.ts";
import { VmmWindow } from "./testing-vmm.ts";

const dir = mkdtempSync(join(tmpdir(), "window-"));
after(() => rmSync(dir, { recursive: true }));

const RANGES = 4;
const BYTES = RANGES * RANGE_BYTES;
/** Tables, which nothing else keeps from being collected. */
const held: Buffer[] = [];
const PAGES = RANGE_BYTES / PAGE_SIZE;
const NODE = 7;

/** A window, and a file of the length given. */
function setup(fileBytes: number) {
  const { address, bytes: memory } = allocAligned(WindowTable.bytes(BYTES));
  memory.fill(0);
  held.push(memory);
  const vmm = new VmmWindow(BYTES);
  const path = join(dir, "file");
  writeFileSync(path, "");
  const file = openSync(path, constants.O_RDWR);
  ftruncateSync(file, fileBytes);
  const open = () => openSync(path, constants.O_RDWR);
  const window = new DaxWindowTable({ address, bytes: BYTES, mapper: vmm, reopen: open, alias: null });
  const mapped = () => Array.from({ length: RANGES }, (_, range) => window.table.pages[range]);
  return { address, memory, vmm, path, file, open, window, mapped };
}

test("a file is mapped as far as it reaches, and nothing behind its end", () => {
  const { window, vmm, open, mapped } = setup(RANGE_BYTES + 5000);
  assert.equal(window.map(NODE, open(), 0, RANGE_BYTES), 0);
  assert.equal(window.map(NODE, open(), RANGE_BYTES, 0), 0);
  assert.equal(window.map(NODE, open(), 2 * RANGE_BYTES, 3 * RANGE_BYTES), 0);
  assert.deepEqual(mapped(), [2, PAGES, 0, 0]);
  assert.equal(vmm.pieces, 2);
});

test("the same mapping again, as an upgrade for writing is, asks the VMM for nothing", () => {
  const { window, vmm, open } = setup(RANGE_BYTES);
  window.map(NODE, open(), 0, 0);
  assert.equal(window.map(NODE, open(), 0, 0), 0);
  assert.equal(vmm.calls, 1);
});

test("growth adds pieces, also to a range that was mapped behind the end", () => {
  const { window, vmm, file, open, mapped } = setup(100);
  window.map(NODE, open(), 0, 0);
  window.map(NODE, open(), RANGE_BYTES, RANGE_BYTES);
  for (const bytes of [4096, 4097, 20_000, RANGE_BYTES + 1]) {
    ftruncateSync(file, bytes);
    assert.equal(window.grow(NODE, bytes), 0);
  }
  assert.deepEqual(mapped(), [PAGES, 1, 0, 0]);
  assert.equal(vmm.pieces, 5);
  assert.equal(window.table.pieces(), 5);
});

test("a cut unmaps what is behind and leaves what is before it", () => {
  const { window, vmm, open, mapped } = setup(3 * RANGE_BYTES);
  for (let range = 0; range < 3; range++) window.map(NODE, open(), range * RANGE_BYTES, range * RANGE_BYTES);
  assert.equal(window.shrink(NODE, RANGE_BYTES + 3 * PAGE_SIZE + 1), 0);
  assert.deepEqual(mapped(), [PAGES, 4, 0, 0]);
  // What was cut was one piece: unmapped, and its start mapped anew.
  assert.equal(vmm.calls, 3 + 2 + 1);
  assert.equal(window.shrink(NODE, 0), 0);
  assert.equal(vmm.pieces, 0);
});

test("files of which nothing is mapped cost no turn of the mutex", () => {
  const { window, memory } = setup(0);
  memory.writeInt32LE(1, 0); // somebody holds it
  assert.equal(window.grow(NODE, 1 << 20), 0);
  assert.equal(window.shrink(NODE, 0), 0);
});

test("what is no range of the window, or of a file, is refused, and the descriptor closed", () => {
  const { window, vmm, open } = setup(RANGE_BYTES);
  for (const [fileOffset, windowOffset] of [
    [0, BYTES],
    [0, -RANGE_BYTES],
    [0, PAGE_SIZE],
    [PAGE_SIZE, 0],
    [0, Number.NaN],
  ] as const) {
    const fd = open();
    assert.equal(window.map(NODE, fd, fileOffset, windowOffset), -22);
    assert.throws(() => closeSync(fd), { code: "EBADF" });
  }
  for (const [windowOffset, bytes] of [
    [0, BYTES + RANGE_BYTES],
    [RANGE_BYTES, BYTES],
    [1, RANGE_BYTES],
    [0, 1],
  ] as const)
    assert.equal(window.remove(windowOffset, bytes), -22);
  assert.equal(window.remove(0, BYTES), 0);
  assert.equal(vmm.calls, 0);
});

test("a range is refused where the VMM refuses, and free afterwards", () => {
  const { window, vmm, open, mapped } = setup(RANGE_BYTES);
  vmm.failure = "refused";
  assert.equal(window.map(NODE, open(), 0, 0), -5);
  assert.equal(window.table.node[0], 0);
  assert.equal(window.map(NODE, open(), 0, 0), 0);
  assert.deepEqual(mapped(), [PAGES, 0, 0, 0]);
});

test("another file in the place of one, and the end of all", () => {
  const { window, vmm, open, mapped } = setup(RANGE_BYTES);
  window.map(NODE, open(), 0, 0);
  assert.equal(window.map(NODE + 1, open(), 0, 0), 0);
  assert.equal(window.table.node[0], NODE + 1);
  window.map(NODE, open(), 0, RANGE_BYTES);
  window.removeAll();
  assert.equal(vmm.pieces, 0);
  assert.deepEqual([...window.table.node], [0, 0, 0, 0]);
  window.map(NODE, open(), 0, 0);
  vmm.reset();
  const { calls } = vmm;
  window.forgetAll();
  assert.equal(vmm.calls, calls);
  assert.equal(window.table.mayHave(NODE), false);
  assert.deepEqual(mapped(), [0, 0, 0, 0]);
});

test("bytes of the window are those of the file, over borders of ranges, with zeroes behind its end", () => {
  const { window, path, open } = setup(RANGE_BYTES + 100);
  writeFileSync(path, Buffer.alloc(RANGE_BYTES + 100, "abc"));
  window.map(NODE, open(), 0, RANGE_BYTES);
  window.map(NODE, open(), RANGE_BYTES, 2 * RANGE_BYTES);
  const memory = allocAligned(8192);
  memory.bytes.fill(0xff);
  assert.equal(window.copyOut(2 * RANGE_BYTES - 4096, 8192, memory.address), 0);
  const expected = Buffer.concat([readFileSync(path).subarray(RANGE_BYTES - 4096), Buffer.alloc(4096 - 100)]);
  assert.ok(memory.bytes.equals(expected));
  memory.bytes.fill("x");
  assert.equal(window.copyIn(2 * RANGE_BYTES - 4096, 8192, memory.address), 0);
  const now = readFileSync(path);
  // What is written behind the end is lost, as with memory: the file does not get longer.
  assert.equal(now.length, RANGE_BYTES + 100);
  assert.ok(now.subarray(RANGE_BYTES - 4096).equals(Buffer.alloc(4196, "x")));
  for (const [at, bytes] of [
    [0, 1],
    [2 * RANGE_BYTES + 4090, 7],
    [BYTES - 1, 2],
    [-1, 1],
  ] as const)
    assert.equal(window.copyOut(at, bytes, memory.address), -14);
});

test("a process that comes after one that died opens files anew, and works on with its table", () => {
  const { window, address, vmm, file, open, mapped } = setup(5000);
  window.map(NODE, open(), 0, 0);
  closeSync(window.table.fd[0]!);
  window.table.mutex.lock(); // it was killed inside
  let reopened = 0;
  const reopen = (node: number) => {
    assert.equal(node, NODE);
    reopened++;
    return open();
  };
  const next = new DaxWindowTable({ address, bytes: BYTES, mapper: vmm, reopen, alias: null });
  next.table.recover();
  ftruncateSync(file, 10_000);
  assert.equal(next.grow(NODE, 10_000), 0);
  assert.equal(next.grow(NODE, 12_288), 0);
  assert.equal(reopened, 1);
  assert.deepEqual(mapped(), [3, 0, 0, 0]);
  next.table.recover();
  const gone = new DaxWindowTable({ address, bytes: BYTES, mapper: vmm, reopen: () => -116, alias: null });
  assert.equal(gone.grow(NODE, 20_000), -116);
  assert.equal(gone.copyOut(0, 1, 4096), -116);
  assert.equal(gone.remove(0, RANGE_BYTES), 0);
});

test("sizes that no window has are refused", () => {
  for (const bytes of [0, RANGE_BYTES - 1, RANGE_BYTES + 4096, MAX_WINDOW_BYTES + RANGE_BYTES, Number.NaN])
    assert.throws(() => WindowTable.bytes(bytes), { name: "RangeError", message: /a DAX window of/ });
  assert.ok(WindowTable.bytes(MAX_WINDOW_BYTES) < 5 << 20);
});
