import { type Digest, MAX_PREFETCH_RANGES, type PrefetchList, type PrefetchRange } from "../../formats/oci/index.ts";
import { ACCESS_UNIT_BYTES, accessOrderBytes } from "../fuse/blobs/index.ts";
import { allocAligned } from "../sys/index.ts";

/** One blob as somebody was given it, and in which order it has been read since. */
export interface RecordedBlob {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  /** See AccessOrder. */
  readonly turns: Int32Array;
  /** Of `turns`, for threads; good for as long as somebody holds this. */
  readonly turnsAddress: number;
}

export function recordedBlob(digest: Digest, size: number): RecordedBlob {
  const memory = allocAligned(accessOrderBytes(size));
  memory.bytes.fill(0);
  const turns = new Int32Array(memory.bytes.buffer, memory.bytes.byteOffset, memory.bytes.length / 4);
  return { digest, size, turns, turnsAddress: memory.address };
}

/** Blobs that one recording is of, at most; those given out later are not recorded. */
const MAX_RECORDED_BLOBS = 4096;

/** What is read of blobs, and in which order, from when they are given out. */
export class Recording {
  readonly #blobs: RecordedBlob[] = [];

  add(blob: RecordedBlob): void {
    if (this.#blobs.length < MAX_RECORDED_BLOBS) this.#blobs.push(blob);
  }

  /** Up to now. What several have read is listed where it was read first. */
  list(): PrefetchList {
    const digests = [...new Set(this.#blobs.map(({ digest }) => digest))];
    const accesses: { readonly turn: number; readonly blob: number; readonly unit: number; readonly size: number }[] =
      [];
    for (const { digest, size, turns } of this.#blobs) {
      const blob = digests.indexOf(digest);
      for (let unit = 0; unit < turns.length; unit++) {
        const turn = Atomics.load(turns, unit);
        if (turn > 0) accesses.push({ turn, blob, unit, size });
      }
    }
    accesses.sort((a, b) => a.turn - b.turn);
    const seen = digests.map(() => new Set<number>());
    const ranges: PrefetchRange[] = [];
    for (const { blob, unit, size } of accesses) {
      if (seen[blob]!.has(unit)) continue;
      seen[blob]!.add(unit);
      const offset = unit * ACCESS_UNIT_BYTES;
      const bytes = Math.min(ACCESS_UNIT_BYTES, size - offset);
      const last = ranges.at(-1);
      if (last?.blob === blob && last.offset + last.bytes === offset)
        ranges[ranges.length - 1] = { ...last, bytes: last.bytes + bytes };
      else if (ranges.length < MAX_PREFETCH_RANGES) ranges.push({ blob, offset, bytes });
      else break;
    }
    return { blobs: digests, ranges };
  }
}
