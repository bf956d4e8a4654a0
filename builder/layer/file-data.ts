/**
 * Where the data of a layer's files goes. A file is cut into units: a small file is one, a large one (2 MiB and more) is
 * cut every 2 MiB. A unit that the blob has already is not stored again; what stays lies in the order of the archive:
 *
 * ```
 *   blob   | a.txt | b.so      | (hole)   | model.bin          ...      | c.txt |
 *          ^4 KiB  ^4 KiB                 ^2 MiB: a guest maps it by huge pages
 * ```
 * Candidates for a duplicate are found by length and the CRC-32 of both ends, and then compared byte by byte: no input
 * can pass one file's data off as another's, and an archive without duplicates pays next to nothing. A unit that has its
 * length and ends in common with an earlier, different one costs one comparison, and is no candidate itself. With a
 * dictionary, a unit that another image's blob holds is not stored either.
 */
import { isMisreadAfter } from "../../formats/erofs/writer/index.ts";
import type { TarEntry } from "../../formats/tar/index.ts";
import { BLOCK_SIZE, type Extent, HOLE, type Inode } from "../../formats/tree/index.ts";
import { type RunSink, SparseRuns } from "./sparse-runs.ts";
import { endsFingerprint, HUGE_PAGE, type KnownUnits } from "./units.ts";

/** Files up to this size may live in the metadata (`--inline-tails`): with inode and xattrs they fit into one block. */
export const MAX_INLINE = 3072;
const MAX_INLINE_XATTRS = 512;

const ZEROS = new Uint8Array(HUGE_PAGE);
const ZERO_UNIT = endsFingerprint(HUGE_PAGE, (offset, length) => ZEROS.subarray(offset, offset + length));
/** The blob that is being written, in extents; blobs of the dictionary are numbered from 1 on. */
const OWN_BLOB = 0;

/** The blob being written, as the store's BlobWriter gives it. */
export interface BlobSink {
  /** Bytes written so far, holes included. */
  readonly position: number;
  /** Moves to the next multiple of `alignment`, BLOCK_SIZE or HUGE_PAGE. */
  begin(alignment: typeof BLOCK_SIZE | typeof HUGE_PAGE): unknown;
  write(bytes: Uint8Array, start: number, end: number): unknown;
  /** Takes back everything from `position`: at most a unit and what `begin` skipped before it. */
  rewind(position: number): void;
  /** Bytes of the blob, to be used before the next call. */
  read(position: number, length: number): Uint8Array;
  sameBytes(positionA: number, positionB: number, length: number): boolean;
}

/** What file data cost, in bytes. */
export interface DataStats {
  /** Sizes of all files added up. */
  logicalBytes: number;
  /** Data found in the blob already. */
  dedupBytes: number;
  /** Of that, data found in blobs of the dictionary. */
  dictionaryBytes: number;
  /** Data not stored because it is holes or whole zero units. */
  holeBytes: number;
  /** Data kept in the metadata. */
  inlineBytes: number;
}

export class FileData implements RunSink {
  readonly stats: DataStats = { logicalBytes: 0, dedupBytes: 0, dictionaryBytes: 0, holeBytes: 0, inlineBytes: 0 };
  /** Files with data in blobs of the dictionary. */
  readonly borrowers: Inode[] = [];
  private readonly blob: BlobSink;
  private readonly inlineTails: boolean;
  private readonly dictionary: KnownUnits | undefined;
  /** Position in the blob of the first unit with a length and fingerprint: (length - 1) * 2^32 + fingerprint → position. */
  private readonly units = new Map<number, number>();

  // The file in progress.
  private file: Inode | null = null;
  private extents: Extent[] = [];
  private lastData: Extent | null = null;
  private inline: Uint8Array | null = null;
  private inlineFill = 0;
  private alignment: typeof BLOCK_SIZE | typeof HUGE_PAGE = BLOCK_SIZE;
  private dedup = true;
  private sparse: SparseRuns | null = null;
  // The unit in progress: where it starts, what it had before it (for rewinding over alignment), how far it is.
  private unitBefore = 0;
  private unitStart = 0;
  private unitLength = 0;
  private unitLeft = 0;
  /** What the unit is to be found by later, when it stays; -1 when it is not. */
  private newKey = -1;
  private runLeft = 0;

  constructor(blob: BlobSink, inlineTails: boolean, dictionary?: KnownUnits) {
    this.blob = blob;
    this.inlineTails = inlineTails;
    this.dictionary = dictionary;
  }

  /** Starts a regular file. `entry.sparse` says where the bytes that follow belong. */
  begin(file: Inode, entry: TarEntry): void {
    this.file = file;
    file.size = entry.size;
    this.extents = [];
    this.lastData = null;
    this.stats.logicalBytes += entry.size;
    this.dedup = true;
    this.alignment = BLOCK_SIZE;
    if (entry.sparse !== null) {
      this.sparse = new SparseRuns(entry.sparse, entry.size, this);
      // Units of 2 MiB would cut up what larger pieces keep short.
      this.dedup = this.sparse.piece <= HUGE_PAGE;
    } else if (
      this.inlineTails &&
      entry.size > 0 &&
      entry.size <= MAX_INLINE &&
      xattrBytes(file) <= MAX_INLINE_XATTRS
    ) {
      this.inline = new Uint8Array(entry.size);
      this.inlineFill = 0;
    } else {
      if (entry.size >= HUGE_PAGE) this.alignment = HUGE_PAGE;
      this.beginRun(entry.size);
    }
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    if (this.inline !== null) {
      this.inline.set(bytes.subarray(start, end), this.inlineFill);
      this.inlineFill += end - start;
    } else if (this.sparse !== null) {
      this.sparse.write(bytes, start, end);
    } else {
      this.store(bytes, start, end);
    }
  }

  /** Ends the file: its extents are complete. */
  end(): void {
    const file = this.file as Inode;
    if (this.inline !== null) {
      file.inlineData = this.inline;
      this.stats.inlineBytes += this.inline.length;
      this.inline = null;
    } else {
      this.sparse?.finish();
      this.sparse = null;
      file.extents = this.extents;
      if (this.extents.some(({ blob }) => blob > OWN_BLOB)) this.borrowers.push(file);
    }
    this.file = null;
  }

  /** A run of data that is stored without gaps; `store` must bring exactly `length` bytes. */
  beginRun(length: number): void {
    this.runLeft = length;
    this.beginUnit();
  }

  hole(length: number): void {
    this.stats.holeBytes += length;
    this.addExtent(HOLE, 0, length);
  }

  private beginUnit(): void {
    if (this.runLeft === 0) return;
    this.unitLength = Math.min(this.runLeft, HUGE_PAGE);
    this.unitLeft = this.unitLength;
    this.unitBefore = this.blob.position;
    this.blob.begin(this.alignment);
    this.unitStart = this.blob.position;
  }

  /** Stores bytes of the current run. */
  store(bytes: Uint8Array, start: number, end: number): void {
    while (start < end) {
      const stop = Math.min(end, start + this.unitLeft);
      this.blob.write(bytes, start, stop);
      this.unitLeft -= stop - start;
      start = stop;
      if (this.unitLeft === 0) {
        this.endUnit();
        this.runLeft -= this.unitLength;
        this.beginUnit();
      }
    }
  }

  private endUnit(): void {
    const length = this.unitLength;
    this.newKey = -1;
    const known = this.dedup ? this.findUnit(length) : undefined;
    if (known === undefined) {
      if (this.isMisread(OWN_BLOB, this.unitStart, length)) this.moveUnit(length);
      if (this.newKey >= 0) this.units.set(this.newKey, this.unitStart);
      this.addExtent(OWN_BLOB, this.unitStart, length);
      return;
    }
    this.blob.rewind(this.unitBefore);
    if (known === HOLE) {
      this.hole(length);
    } else {
      this.stats.dedupBytes += length;
      if (known.blob !== OWN_BLOB) this.stats.dictionaryBytes += length;
      this.addExtent(known.blob, known.position, length);
    }
  }

  /** Where the unit's bytes are already; HOLE for a whole unit of zeros. */
  private findUnit(length: number): typeof HOLE | { blob: number; position: number } | undefined {
    const read = (offset: number, bytes: number) => this.blob.read(this.unitStart + offset, bytes);
    const fingerprint = endsFingerprint(length, read);
    if (fingerprint === ZERO_UNIT && length === HUGE_PAGE && this.isZeroUnit()) return HOLE;
    const key = (length - 1) * 0x1_0000_0000 + fingerprint;
    const own = this.units.get(key);
    if (own !== undefined && !this.isMisread(OWN_BLOB, own, length) && this.blob.sameBytes(own, this.unitStart, length))
      return { blob: OWN_BLOB, position: own };
    const place = this.dictionary?.find(length, fingerprint, read);
    if (place !== undefined && !this.isMisread(place.blob + 1, place.position, length))
      return { blob: place.blob + 1, position: place.position };
    if (own === undefined) this.newKey = key;
    return undefined;
  }

  /** Whether Linux would read these bytes from the wrong blob, if the file went on with them. */
  private isMisread(blob: number, position: number, length: number): boolean {
    return this.lastData !== null && isMisreadAfter(this.lastData, extentOf(blob, position, length));
  }

  /** Stores the unit in progress further on. */
  private moveUnit(length: number): void {
    const bytes = Uint8Array.from(this.blob.read(this.unitStart, length));
    this.blob.rewind(this.unitBefore);
    this.blob.begin(this.alignment);
    this.blob.write(ZEROS, 0, 1);
    this.blob.begin(this.alignment);
    this.unitStart = this.blob.position;
    this.blob.write(bytes, 0, length);
  }

  private isZeroUnit(): boolean {
    return Buffer.compare(this.blob.read(this.unitStart, HUGE_PAGE), ZEROS) === 0;
  }

  /** Adds `length` bytes at a byte position of a blob, growing the last extent where they continue it. */
  private addExtent(blob: number, position: number, length: number): void {
    const next = extentOf(blob, position, length);
    const { startBlock, blocks } = next;
    const last = this.extents[this.extents.length - 1];
    if (last !== undefined && last.blob === blob && (blob === HOLE || last.startBlock + last.blocks === startBlock))
      this.extents[this.extents.length - 1] = { blob, startBlock: last.startBlock, blocks: last.blocks + blocks };
    else this.extents.push(next);
    if (blob !== HOLE) this.lastData = next;
  }

  /** Stores zeros in the current run. */
  storeZeros(length: number): void {
    for (let left = length; left > 0; left -= HUGE_PAGE) this.store(ZEROS, 0, Math.min(left, HUGE_PAGE));
  }
}

function extentOf(blob: number, position: number, length: number): Extent {
  return { blob, startBlock: position / BLOCK_SIZE, blocks: Math.ceil(length / BLOCK_SIZE) };
}

function xattrBytes(inode: Inode): number {
  return inode.xattrs.reduce((sum, { name, value }) => sum + name.length + value.length + 8, 0);
}
