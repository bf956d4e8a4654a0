import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { isMisreadAfter } from "../../formats/erofs/writer/index.ts";
import type { SparseSegment, TarEntry } from "../../formats/tar/index.ts";
import { BLOCK_SIZE, HOLE, Inode, S_IFREG } from "../../formats/tree/index.ts";
import { type BlobSink, FileData } from "./file-data.ts";
import { HUGE_PAGE, type KnownUnits, type ReadUnit, type UnitPlace } from "./units.ts";

/** A blob in memory: the simplest thing that keeps BlobSink's promises, and checks that the caller keeps its own. */
class MemoryBlob implements BlobSink {
  bytes = Buffer.alloc(64 << 20);
  position = 0;
  begin(alignment: number): void {
    this.position = Math.ceil(this.position / alignment) * alignment;
  }
  write(bytes: Uint8Array, start: number, end: number): void {
    this.bytes.set(bytes.subarray(start, end), this.position);
    this.position += end - start;
  }
  rewind(position: number): void {
    assert.ok(
      position <= this.position && this.position - position < 2 * HUGE_PAGE,
      "rewinds at most a unit and a hole",
    );
    this.bytes.fill(0, position, this.position);
    this.position = position;
  }
  read(position: number, length: number): Uint8Array {
    assert.ok(position >= 0 && position + length <= this.position, "reads what was written");
    return this.bytes.subarray(position, position + length);
  }
  sameBytes(positionA: number, positionB: number, length: number): boolean {
    return Buffer.compare(this.read(positionA, length), this.read(positionB, length)) === 0;
  }
}

interface TestFile {
  readonly content: Buffer;
  readonly sparse: readonly SparseSegment[] | null;
}

function contentOf(blob: MemoryBlob, file: Inode, dictionary?: Buffer): Buffer {
  if (file.inlineData !== null) return Buffer.from(file.inlineData);
  const out = Buffer.alloc(Math.ceil(file.size / BLOCK_SIZE) * BLOCK_SIZE);
  let at = 0;
  for (const { blob: index, startBlock, blocks } of file.extents) {
    const source = index === 0 ? blob.bytes : dictionary!;
    if (index !== HOLE) source.copy(out, at, startBlock * BLOCK_SIZE, (startBlock + blocks) * BLOCK_SIZE);
    at += blocks * BLOCK_SIZE;
  }
  assert.equal(at, out.length, "extents cover the file exactly");
  assert.ok(
    out.subarray(file.size).every((byte) => byte === 0),
    "the rest of the last block is zero",
  );
  return out.subarray(0, file.size);
}

/** Few distinct contents and sizes around every boundary, so that duplicates, zero units and splits occur. */
const plainFile: fc.Arbitrary<TestFile> = fc
  .tuple(
    fc.constantFrom(
      0,
      1,
      100,
      3072,
      3073,
      4095,
      4096,
      4097,
      70_000,
      HUGE_PAGE - 1,
      HUGE_PAGE,
      HUGE_PAGE + 5,
      3 * HUGE_PAGE + 4096,
    ),
    fc.array(fc.constantFrom(0, 1, 2), { minLength: 4, maxLength: 4 }),
  )
  .map(([size, fills]) => {
    const content = Buffer.alloc(size);
    // A fill byte per 2 MiB unit, 0 leaves a unit of zeros.
    for (let unit = 0; unit * HUGE_PAGE < size; unit++)
      content.fill(fills[unit] as number, unit * HUGE_PAGE, Math.min(size, (unit + 1) * HUGE_PAGE));
    return { content, sparse: null };
  });

const sparseFile: fc.Arbitrary<TestFile> = fc
  .tuple(
    fc.array(fc.tuple(fc.nat(20_000), fc.integer({ min: 1, max: 20_000 })), { maxLength: 6 }),
    fc.nat(30_000),
    fc.nat(255),
  )
  .map(([gaps, tail, seed]) => {
    const sparse: SparseSegment[] = [];
    let at = 0;
    for (const [gap, length] of gaps) {
      sparse.push({ offset: at + gap, length });
      at += gap + length;
    }
    const content = Buffer.alloc(at + tail);
    for (const { offset, length } of sparse) for (let i = 0; i < length; i++) content[offset + i] = (seed + i) & 0xff;
    return { content, sparse };
  });

function store(data: FileData, file: TestFile, cut: number): Inode {
  const inode = new Inode(S_IFREG | 0o644);
  data.begin(inode, { size: file.content.length, sparse: file.sparse } as TarEntry);
  const stored = file.sparse
    ? Buffer.concat(file.sparse.map(({ offset, length }) => file.content.subarray(offset, offset + length)))
    : file.content;
  for (let at = 0; at < stored.length; at += cut) data.write(stored, at, Math.min(stored.length, at + cut));
  data.end();
  return inode;
}

test("whatever files come in whatever pieces, their extents lead to their bytes", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 3, arbitrary: plainFile }, sparseFile), { maxLength: 6 }),
      fc.constantFrom(1000, 4096, 1 << 20, 5 << 20),
      fc.boolean(),
      (files, cut, inlineTails) => {
        const blob = new MemoryBlob();
        const data = new FileData(blob, inlineTails);
        const inodes = files.map((file) => store(data, file, cut));
        for (const [index, inode] of inodes.entries())
          assert.ok(contentOf(blob, inode).equals((files[index] as TestFile).content));
      },
    ),
    { numRuns: 60, seed: 20261123 },
  );
});

/** Units of another blob, found by looking at all of them. */
class MemoryDictionary implements KnownUnits {
  readonly bytes: Buffer;
  constructor(units: readonly { readonly position: number; readonly content: Buffer }[]) {
    this.bytes = Buffer.alloc(32 << 20);
    for (const { position, content } of units) content.copy(this.bytes, position);
    this.units = units;
  }
  readonly units: readonly { readonly position: number; readonly content: Buffer }[];
  find(length: number, _fingerprint: number, read: ReadUnit): UnitPlace | undefined {
    const found = this.units.find(({ content }) => content.length === length && content.equals(read(0, length)));
    return found && { blob: 0, position: found.position };
  }
}

test("with a dictionary, whatever is found where, no file goes on in another blob at the block it left one", () => {
  // The fills of plainFile, at places that its files reach in their own blob, too.
  const place = fc.record({
    fill: fc.constantFrom(1, 2),
    length: fc.constantFrom(100, 4096, 70_000, HUGE_PAGE, HUGE_PAGE, HUGE_PAGE, 5),
    at: fc.integer({ min: 0, max: 6 }),
  });
  let borrowed = 0;
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 4, arbitrary: plainFile }, sparseFile), { maxLength: 6 }),
      fc.uniqueArray(place, { minLength: 1, maxLength: 5, selector: ({ at }) => at }),
      fc.constantFrom(4096, 5 << 20),
      (files, places, cut) => {
        const blob = new MemoryBlob();
        const units = places.map(({ fill, length, at }) => ({
          position: at * HUGE_PAGE,
          content: Buffer.alloc(length, fill),
        }));
        const dictionary = new MemoryDictionary(units);
        const data = new FileData(blob, false, dictionary);
        const inodes = files.map((file) => store(data, file, cut));
        borrowed += data.borrowers.length;
        for (const [index, inode] of inodes.entries()) {
          const whole = inode.extents.filter((extent) => extent.blob !== HOLE);
          for (const [i, next] of whole.slice(1).entries()) assert.ok(!isMisreadAfter(whole[i]!, next));
          assert.ok(contentOf(blob, inode, dictionary.bytes).equals(files[index]!.content));
        }
      },
    ),
    { numRuns: 100, seed: 20261127 },
  );
  assert.ok(borrowed > 20, `${borrowed} files have data in the dictionary`);
});

test("a unit that would be misread where it lies is stored further on, and found there by the next file", () => {
  const unit = (fill: number) => Buffer.alloc(HUGE_PAGE, fill);
  // The file's first unit ends in the dictionary at the block where its second one begins in the layer's own blob.
  const dictionary = new MemoryDictionary([{ position: 0, content: unit(1) }]);
  const blob = new MemoryBlob();
  const data = new FileData(blob, false, dictionary);
  store(data, { content: unit(7), sparse: null }, 1 << 20);
  const file = store(data, { content: Buffer.concat([unit(1), unit(2)]), sparse: null }, 1 << 20);
  const perUnit = HUGE_PAGE / BLOCK_SIZE;
  assert.deepEqual(file.extents, [
    { blob: 1, startBlock: 0, blocks: perUnit },
    { blob: 0, startBlock: 2 * perUnit, blocks: perUnit },
  ]);
  const again = store(data, { content: unit(2), sparse: null }, 1 << 20);
  assert.deepEqual(again.extents, [{ blob: 0, startBlock: 2 * perUnit, blocks: perUnit }]);
  assert.deepEqual(data.borrowers, [file]);
  assert.equal(data.stats.dictionaryBytes, HUGE_PAGE);
});

test("equal files share their data, large files unit by unit, and zero units are holes", () => {
  const blob = new MemoryBlob();
  const data = new FileData(blob, false);
  const small = { content: Buffer.from("x".repeat(5000)), sparse: null };
  const unit = (fill: number) => Buffer.alloc(HUGE_PAGE, fill);
  const first = store(data, { content: Buffer.concat([unit(1), unit(2), unit(3)]), sparse: null }, 1 << 20);
  const changed = store(data, { content: Buffer.concat([unit(1), unit(9), unit(3)]), sparse: null }, 1 << 20);
  const zeros = store(data, { content: Buffer.concat([unit(0), unit(0)]), sparse: null }, 1 << 20);
  const [a, b] = [store(data, small, 4096), store(data, small, 100)];
  const perUnit = HUGE_PAGE / BLOCK_SIZE;
  assert.deepEqual(first.extents, [{ blob: 0, startBlock: 0, blocks: 3 * perUnit }]);
  assert.deepEqual(changed.extents, [
    { blob: 0, startBlock: 0, blocks: perUnit },
    { blob: 0, startBlock: 3 * perUnit, blocks: perUnit },
    { blob: 0, startBlock: 2 * perUnit, blocks: perUnit },
  ]);
  assert.deepEqual(zeros.extents, [{ blob: HOLE, startBlock: 0, blocks: 2 * perUnit }]);
  assert.deepEqual(a.extents, b.extents);
  assert.equal(data.stats.dedupBytes, 2 * HUGE_PAGE + 5000);
  assert.equal(data.stats.holeBytes, 2 * HUGE_PAGE);
  assert.equal(blob.position, 4 * HUGE_PAGE + 5000);
});

test("two contents with the same length and CRC-32 stay two", () => {
  // The well-known pair of words: both have CRC-32 4ddb0c25.
  const [one, two] = [Buffer.from("plumless"), Buffer.from("buckeroo")];
  assert.equal(crc32(one), crc32(two));
  const data = new FileData(new MemoryBlob(), false);
  const first = store(data, { content: one, sparse: null }, 100);
  const second = store(data, { content: two, sparse: null }, 100);
  assert.notDeepEqual(first.extents, second.extents);
  assert.equal(data.stats.dedupBytes, 0);
});

test("files that differ only in the middle are two, and a later copy of the first still finds it", () => {
  const middle = (byte: number) => Buffer.concat([Buffer.alloc(5000, 7), Buffer.from([byte]), Buffer.alloc(5000, 7)]);
  const data = new FileData(new MemoryBlob(), false);
  const [a, b, copy] = [1, 2, 1].map((byte) => store(data, { content: middle(byte), sparse: null }, 1000)) as Inode[];
  assert.notDeepEqual(a?.extents, b?.extents);
  assert.deepEqual(copy?.extents, a?.extents);
  const zeroEnds = Buffer.alloc(HUGE_PAGE);
  zeroEnds[HUGE_PAGE / 2] = 1;
  assert.notEqual(store(data, { content: zeroEnds, sparse: null }, 1 << 20).extents[0]?.blob, HOLE);
});

test("a huge sparse file with a few bytes in it keeps a short description", () => {
  const size = 1 << 30;
  const sparse = Array.from({ length: 100 }, (_, i) => ({ offset: i * 10_000_000 + 7, length: 3 }));
  const blob = new MemoryBlob();
  const data = new FileData(blob, false);
  const inode = new Inode(S_IFREG | 0o644);
  data.begin(inode, { size, sparse } as unknown as TarEntry);
  for (let i = 0; i < 100; i++) data.write(Buffer.from("abc"), 0, 3);
  data.end();
  assert.ok(inode.extents.length <= 201, `${inode.extents.length} extents`);
  // Granularity is 16 KiB for 1 GiB; equal pieces are stored once where the offset inside the piece is the same.
  assert.ok(blob.position <= 100 * 16384);
});
