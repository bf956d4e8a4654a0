import type { SparseSegment } from "../../formats/tar/index.ts";
import { BLOCK_SIZE } from "../../formats/tree/index.ts";

/** A sparse file is described by at most about this many pieces; its granularity grows with its size to keep to it. */
const MAX_PIECES = 1 << 16;

/** Where the pieces of a sparse file go. */
export interface RunSink {
  /** A hole of `length` bytes. */
  hole(length: number): void;
  /** A run of `length` bytes begins: `store` and `storeZeros` will bring exactly that many. */
  beginRun(length: number): void;
  store(bytes: Uint8Array, start: number, end: number): void;
  storeZeros(length: number): void;
}

/**
 * A sparse file's data segments, which may start and end anywhere, laid into runs of whole pieces and holes between
 * them. The piece is the block, or as many blocks as keep a large file's description short.
 */
export class SparseRuns {
  /** Bytes that runs and holes are multiples of (but at the end of the file). */
  readonly piece: number;
  private readonly runs: { readonly start: number; end: number }[] = [];
  private readonly segments: readonly SparseSegment[];
  private readonly size: number;
  private readonly sink: RunSink;
  private segment = 0;
  private segmentDone = 0;
  private run = 0;
  /** How far the file has been handed to the sink, in bytes. */
  private at = 0;

  /** @param segments in order, without overlap, inside `size` (as TarReader gives them). */
  constructor(segments: readonly SparseSegment[], size: number, sink: RunSink) {
    this.piece = pieceSize(size);
    this.segments = segments.filter(({ length }) => length > 0);
    this.size = size;
    this.sink = sink;
    for (const { offset, length } of this.segments) {
      const start = Math.floor(offset / this.piece) * this.piece;
      const end = Math.min(size, Math.ceil((offset + length) / this.piece) * this.piece);
      const last = this.runs[this.runs.length - 1];
      if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
      else this.runs.push({ start, end });
    }
  }

  /** Takes the file's stored bytes in order. */
  write(bytes: Uint8Array, start: number, end: number): void {
    while (start < end) {
      const segment = this.segments[this.segment] as SparseSegment;
      this.advance(segment.offset + this.segmentDone);
      const stop = Math.min(end, start + segment.length - this.segmentDone);
      this.beginRunIfDue();
      this.sink.store(bytes, start, stop);
      this.moveInRun(stop - start);
      this.segmentDone += stop - start;
      start = stop;
      if (this.segmentDone === segment.length) {
        this.segment++;
        this.segmentDone = 0;
      }
    }
  }

  /** Hands out what lies behind the last segment. */
  finish(): void {
    this.advance(this.size);
  }

  /** Hands out holes, and zeros inside runs, up to `to`. */
  private advance(to: number): void {
    while (this.at < to) {
      const run = this.runs[this.run];
      if (run === undefined || this.at < run.start) {
        const length = Math.min(to, run?.start ?? this.size) - this.at;
        this.sink.hole(length);
        this.at += length;
      } else {
        const length = Math.min(to, run.end) - this.at;
        this.beginRunIfDue();
        this.sink.storeZeros(length);
        this.moveInRun(length);
      }
    }
  }

  private beginRunIfDue(): void {
    const run = this.runs[this.run];
    if (run !== undefined && run.start === this.at) this.sink.beginRun(run.end - run.start);
  }

  private moveInRun(length: number): void {
    this.at += length;
    if (this.at === this.runs[this.run]?.end) this.run++;
  }
}

function pieceSize(size: number): number {
  let piece = BLOCK_SIZE;
  while (size / piece > MAX_PIECES) piece *= 2;
  return piece;
}
