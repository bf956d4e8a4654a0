import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import type { BlobWriter } from "./blob-writer.ts";
import { Store } from "./store.ts";

const BLOCK = 4096;
const MIB2 = 2_097_152;

type Step =
  | { kind: "begin"; align: typeof BLOCK | typeof MIB2 }
  | { kind: "write"; length: number }
  | { kind: "drain" }
  /** To a point between the lowest allowed (0) and the current position (1). */
  | { kind: "rewind"; to: number }
  /** To where the writer stood that many steps ago. */
  | { kind: "undo"; steps: number }
  | { kind: "read"; from: number; length: number }
  | { kind: "same"; a: number; b: number; length: number };

const fraction = fc.double({ min: 0, max: 1, noNaN: true });
const length = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 3 * BLOCK }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 5 * MIB2 }) },
  { weight: 1, arbitrary: fc.constantFrom(BLOCK, MIB2 - 1, MIB2, MIB2 + 1) },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("begin" as const), align: fc.constantFrom(BLOCK, MIB2) }),
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("write" as const), length }) },
  fc.record({ kind: fc.constant("drain" as const) }),
  fc.record({ kind: fc.constant("rewind" as const), to: fraction }),
  fc.record({ kind: fc.constant("undo" as const), steps: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ kind: fc.constant("read" as const), from: fraction, length }),
  fc.record({ kind: fc.constant("same" as const), a: fraction, b: fraction, length }),
);

/** What a blob is, said simply: one array. */
class Model {
  bytes = Buffer.alloc(0);
  /** The highest position reached: two segments before it the writer may refuse a rewind. */
  highest = 0;
  /** Where each step began, as far as it was not taken back. */
  starts: number[] = [];

  append(more: Uint8Array): void {
    this.bytes = Buffer.concat([this.bytes, more]);
    this.highest = Math.max(this.highest, this.bytes.length);
  }

  pad(align: number): void {
    this.append(Buffer.alloc((align - (this.bytes.length % align)) % align));
  }
}

/** Bytes that no other call gave; a small alphabet now and then, so that ranges are equal sometimes. */
let seed = 1;
function freshBytes(count: number): Buffer {
  const bytes = Buffer.alloc(count);
  const dull = seed % 3 === 0;
  for (let i = 0; i < count; i += 4) {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    bytes[i] = dull ? 7 : seed >>> 24;
  }
  return bytes;
}

async function apply(writer: BlobWriter, model: Model, one: Step): Promise<void> {
  model.starts = model.starts.filter((start) => start <= model.bytes.length);
  model.starts.push(model.bytes.length);
  const position = (part: number, low = 0): number => low + Math.floor(part * (model.bytes.length - low));
  switch (one.kind) {
    case "begin":
      model.pad(one.align);
      assert.equal(writer.begin(one.align), model.bytes.length / BLOCK);
      return;
    case "write": {
      const bytes = freshBytes(one.length + 2);
      writer.write(bytes, 1, one.length + 1);
      model.append(bytes.subarray(1, one.length + 1));
      bytes.fill(0xee); // The writer must have taken a copy.
      return;
    }
    case "drain":
      await writer.drain();
      assert.equal(writer.needsDrain, false);
      return;
    case "rewind": {
      assert.ok(writer.floor <= Math.max(0, model.highest - 2 * MIB2), "rewind reaches 4 MiB back");
      const to = position(one.to, Math.min(writer.floor, model.bytes.length));
      writer.rewind(to);
      model.bytes = model.bytes.subarray(0, to);
      return;
    }
    case "undo": {
      const to = model.starts.at(-one.steps - 1) ?? model.bytes.length;
      if (to < writer.floor) return;
      writer.rewind(to);
      model.bytes = model.bytes.subarray(0, to);
      return;
    }
    case "read": {
      const from = position(one.from);
      const count = Math.min(one.length, model.bytes.length - from);
      assert.ok(model.bytes.subarray(from, from + count).equals(writer.read(from, count)));
      return;
    }
    case "same": {
      const [a, b] = [position(one.a), position(one.b)];
      const count = Math.min(one.length, model.bytes.length - Math.max(a, b));
      const expected = model.bytes.subarray(a, a + count).equals(model.bytes.subarray(b, b + count));
      assert.equal(writer.sameBytes(a, b, count), expected);
      return;
    }
  }
}

const folders = { disk: tmpdir(), tmpfs: "/dev/shm" };
for (const [where, folder] of Object.entries(folders))
  for (const direct of [true, false]) {
    const root = mkdtempSync(join(folder, "store-fuzz-"));
    after(() => rmSync(root, { recursive: true, force: true }));

    test(`a blob is what was written and not taken back (${where}, ${direct ? "O_DIRECT" : "buffered"})`, async () => {
      const store = await Store.open(root, { durable: false, direct });
      let flushed = 0;
      let waited = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30, size: "max" }), async (steps) => {
          const writer = store.createBlob();
          const model = new Model();
          seed = 1;
          for (const one of steps) {
            await apply(writer, model, one);
            assert.equal(writer.position, model.bytes.length);
          }
          if (writer.floor > 0) flushed++;
          waited += writer.syncWrites;
          const finished = await writer.finish();
          if (model.bytes.length === 0) return assert.equal(finished, undefined);
          model.pad(BLOCK);
          const dataBlocks = model.bytes.length / BLOCK;
          model.pad(MIB2);
          const digestHex = createHash("sha256").update(model.bytes).digest("hex");
          assert.deepEqual(finished, {
            digestHex,
            size: model.bytes.length,
            blocks: model.bytes.length / BLOCK,
            dataBlocks,
          });
          assert.ok(readFileSync(store.blobPath(digestHex)).equals(model.bytes));
          rmSync(store.blobPath(digestHex));
        }),
        { numRuns: 20, seed: 20261 },
      );
      assert.ok(flushed > 0 && waited > 0, "some blobs were long enough to leave the buffers, in both ways");
      store.close();
    });
  }
