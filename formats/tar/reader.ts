import { type ByteString, escapeBytes, FormatError } from "../bytes/index.ts";
import type { EntrySink, EntryType } from "./entry.ts";
import { BLOCK, readHeader, sizeOf, typeflagOf, verifyChecksum } from "./header.ts";
import { DEFAULT_TAR_LIMITS, type TarLimits } from "./limits.ts";
import { Member } from "./member.ts";
import type { LeadingMap } from "./sparse.ts";
import { kindOf, TYPE_G, TYPE_K, TYPE_S } from "./typeflags.ts";

/**
 * Where the reader is. In the first five it waits for #need bytes in one piece; they are taken from the chunk where they
 * lie wholly in it, else collected in #hold.
 *
 *        ┌──────────────── PAX, LONG ◄─── x g X L K
 *        ▼                                    │
 *     HEADER ─────────────────────────────────┤
 *      ▲  └─ zero blocks ─► END               ├── S with more map ──► CONTINUATION ─┐
 *      │                                      ├── sparse 1.0 ───────► LEADING_MAP ──┤
 *      └──── SKIP ◄──── DATA ◄────────────────┴─────────────────────────────────────┘
 */
const HEADER = 0;
const PAX = 1;
const LONG = 2;
const CONTINUATION = 3;
const LEADING_MAP = 4;
const DATA = 5;
const SKIP = 6;
const END = 7;

/** What is missing, for the error of an archive that ends in that state. */
const WANTED = [
  "header",
  "pax header",
  "long name",
  "sparse header",
  "sparse map",
  "file data",
  "padding",
  "end",
] as const;

/** Bytes that #hold keeps between its uses. */
const HOLD_KEPT = 4096;

/**
 * Reads a tar archive that is pushed in pieces of any size and feeds its members to a sink.
 *
 * - Formats: v7, ustar, star, PAX, old and new GNU; sparse files of type S and PAX 0.0, 0.1, 1.0.
 * - Precedence of a name, lowest first: header, `g`, `x`, GNU `L`/`K` (as Go's archive/tar has it, so that an archive
 *   means here what it means to containerd). A second `x` header before an entry replaces the first.
 * - Hard links, symlinks, devices, directories and fifos have no data whatever their size field says (GNU tar, Go).
 * - The archive ends with two zero blocks; what follows is read and ignored. It may also end without them at a block
 *   where a header would start, after one zero block, or be empty: GNU tar, Go and libarchive accept all three. A zero
 *   block followed by something else is refused.
 * - Typeflags that are no member of a tree, or unknown, are refused, as containerd does.
 *
 * After an error, its own or one from the sink, the reader cannot be used any more.
 *
 * @example
 *   const reader = new TarReader(sink);
 *   for await (const chunk of stream) reader.push(chunk);
 *   reader.end();
 */
export class TarReader {
  readonly #sink: EntrySink;
  readonly #limits: TarLimits;
  #bytesRead = 0;
  #busy = false;
  #state = HEADER;
  #sawZeroBlock = false;

  /** Bytes that the state needs in one piece, those already in #hold, and where the first lies in the archive. */
  #need = BLOCK;
  #held = 0;
  #hold = Buffer.alloc(HOLD_KEPT);
  #at = 0;

  /** DATA, LEADING_MAP: stored bytes of the file still to come. SKIP: bytes to pass over. */
  #remaining = 0;
  #padding = 0;

  /** Typeflag of the extended header whose body is awaited. */
  #extension = 0;
  readonly #member: Member;
  #leadingMap: LeadingMap | null = null;
  /** Of the entry whose data is coming, for errors. */
  #path: ByteString = "";

  constructor(sink: EntrySink, limits: Partial<TarLimits> = {}) {
    this.#sink = sink;
    this.#limits = { ...DEFAULT_TAR_LIMITS, ...limits };
    this.#member = new Member(this.#limits);
  }

  /** Bytes of all finished pushes. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Whether the archive's end mark (two zero blocks) has been read. */
  get sawEndMark(): boolean {
    return this.#state === END;
  }

  /**
   * The next bytes of the archive. The sink is called from here.
   * @throws FormatError ERR_BAD_VALUE, ERR_UNSUPPORTED; and whatever the sink throws
   */
  push(chunk: Uint8Array): void {
    this.#enter();
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const end = bytes.length;
    for (let p = 0; p < end; ) {
      if (this.#state === DATA) p = this.#data(bytes, p, end);
      else if (this.#state === SKIP) p = this.#skip(p, end);
      else if (this.#state === END) p = end;
      else p = this.#collect(bytes, p, end);
    }
    this.#bytesRead += end;
    this.#busy = false;
  }

  /**
   * No more bytes follow.
   * @throws FormatError ERR_TRUNCATED when the archive cannot end here
   */
  end(): void {
    this.#enter();
    const atBoundary = this.#state === HEADER && this.#held === 0 && this.#member.firstHeader < 0;
    if (this.#state !== END && !atBoundary) throw this.#truncated();
    this.#busy = false;
  }

  #enter(): void {
    if (this.#busy) throw new Error("TarReader used after an error, or from its own sink");
    this.#busy = true;
  }

  #data(bytes: Buffer, p: number, end: number): number {
    const stop = Math.min(end, p + this.#remaining);
    this.#remaining -= stop - p;
    this.#sink.data(bytes, p, stop);
    if (this.#remaining === 0) this.#endEntry(this.#padding);
    return stop;
  }

  #skip(p: number, end: number): number {
    const stop = Math.min(end, p + this.#remaining);
    this.#remaining -= stop - p;
    if (this.#remaining === 0) this.#expect(HEADER, BLOCK);
    return stop;
  }

  /** Takes what the state needs from the chunk, in place if it is all there; then goes on to the next state. */
  #collect(bytes: Buffer, p: number, end: number): number {
    if (this.#held === 0) {
      this.#at = this.#bytesRead + p;
      if (end - p >= this.#need) {
        const next = p + this.#need;
        this.#take(bytes, p, next);
        return next;
      }
    }
    const stop = Math.min(end, p + this.#need - this.#held);
    this.#reserve(this.#held + stop - p);
    bytes.copy(this.#hold, this.#held, p, stop);
    this.#held += stop - p;
    if (this.#held === this.#need) {
      this.#held = 0;
      this.#take(this.#hold, 0, this.#need);
      if (this.#hold.length > HOLD_KEPT) this.#hold = Buffer.alloc(HOLD_KEPT);
    }
    return stop;
  }

  /** Grows #hold with what has come, not with what was announced. */
  #reserve(length: number): void {
    if (length <= this.#hold.length) return;
    const larger = Buffer.alloc(Math.min(this.#need, Math.max(length, 2 * this.#hold.length)));
    this.#hold.copy(larger, 0, 0, this.#held);
    this.#hold = larger;
  }

  #take(bytes: Buffer, start: number, end: number): void {
    switch (this.#state) {
      case HEADER:
        this.#takeHeader(bytes, start);
        return;
      case PAX:
        this.#takePax(bytes, start, end);
        return;
      case LONG:
        this.#takeLong(bytes, start, end);
        return;
      case CONTINUATION:
        if (!this.#member.continueOldSparse(bytes, start, this.#at)) this.#begin("file", this.#member.header.size);
        return;
      case LEADING_MAP:
        this.#takeLeadingMap(bytes, start);
    }
  }

  /** Waits for `need` bytes (more than 0) in one piece. */
  #expect(state: number, need: number): void {
    this.#state = state;
    this.#need = need;
  }

  #skipThenHeader(length: number): void {
    this.#remaining = length;
    if (length > 0) this.#state = SKIP;
    else this.#expect(HEADER, BLOCK);
  }

  #takeHeader(block: Buffer, p: number): void {
    if (!verifyChecksum(block, p, this.#at)) {
      this.#zeroBlock();
      return;
    }
    if (this.#sawZeroBlock)
      throw new FormatError("ERR_BAD_VALUE", "tar end mark", this.#at, "found a header after a single zero block");
    const typeflag = typeflagOf(block, p);
    const kind = kindOf(typeflag);
    if (kind === undefined) throw unsupported(typeflag, this.#at);
    // A global header belongs to no entry.
    if (this.#member.firstHeader < 0 && typeflag !== TYPE_G) this.#member.firstHeader = this.#at;
    if (kind === "pax" || kind === "long") this.#expectExtension(kind, typeflag, sizeOf(block, p, this.#at));
    else if (kind === "skip") {
      this.#member.reset();
      this.#skipThenHeader(padded(sizeOf(block, p, this.#at)));
    } else this.#takeMember(kind, block, p);
  }

  #zeroBlock(): void {
    if (this.#member.firstHeader >= 0)
      throw new FormatError("ERR_BAD_VALUE", "tar end mark", this.#at, "found where headers announced an entry");
    if (this.#sawZeroBlock) this.#state = END;
    this.#sawZeroBlock = true;
  }

  #expectExtension(kind: "pax" | "long", typeflag: number, size: number): void {
    const limit = kind === "pax" ? this.#limits.paxBytes : this.#limits.pathBytes;
    if (size > limit) {
      const found = `type ${String.fromCharCode(typeflag)} announces ${size} bytes, the limit is ${limit}`;
      throw new FormatError("ERR_BAD_VALUE", "tar header.size", this.#at, found);
    }
    if (kind === "pax" && typeflag !== TYPE_G) this.#member.dropLocalPax();
    this.#extension = typeflag;
    this.#padding = padded(size) - size;
    if (size > 0) this.#expect(kind === "pax" ? PAX : LONG, size);
  }

  #takePax(bytes: Buffer, start: number, end: number): void {
    if (this.#extension === TYPE_G) this.#member.globalPax(bytes, start, end, this.#at);
    else this.#member.localPax(bytes, start, end, this.#at);
    this.#skipThenHeader(this.#padding);
  }

  #takeLong(bytes: Buffer, start: number, end: number): void {
    const nul = bytes.subarray(start, end).indexOf(0);
    const text = bytes.toString("latin1", start, nul < 0 ? end : start + nul);
    if (this.#extension === TYPE_K) this.#member.longLink = text;
    else this.#member.longPath = text;
    this.#skipThenHeader(this.#padding);
  }

  #takeMember(kind: EntryType, block: Buffer, p: number): void {
    const member = this.#member;
    readHeader(block, p, this.#at, member.header);
    member.applySize();
    if (member.header.typeflag === TYPE_S) {
      if (member.openOldSparse(block, p, this.#at)) this.#expect(CONTINUATION, BLOCK);
      else this.#begin("file", member.header.size);
      return;
    }
    this.#leadingMap = member.openPaxSparse(kind);
    if (this.#leadingMap === null) this.#begin(kind, member.header.size);
    else {
      this.#remaining = member.header.size;
      this.#expectMapBlock();
    }
  }

  #expectMapBlock(): void {
    if (this.#remaining < BLOCK)
      throw new FormatError("ERR_BAD_VALUE", "tar sparse map", this.#at, "goes on after the end of the stored data");
    this.#remaining -= BLOCK;
    this.#expect(LEADING_MAP, BLOCK);
  }

  #takeLeadingMap(block: Buffer, p: number): void {
    if (this.#leadingMap!.block(block, p, this.#at)) this.#begin("file", this.#remaining);
    else this.#expectMapBlock();
  }

  /** Everything about the entry is known: hands it out and goes on to its `stored` bytes of data, if it has any. */
  #begin(kind: EntryType, stored: number): void {
    const entry = this.#member.entry(kind, stored, this.#at);
    this.#sink.entry(entry);
    if (entry.type !== "file") this.#endEntry(this.#member.isDumpDirectory ? padded(stored) : 0);
    else if (stored === 0) this.#endEntry(0);
    else {
      this.#path = entry.path;
      this.#remaining = stored;
      this.#padding = padded(stored) - stored;
      this.#state = DATA;
    }
  }

  #endEntry(skip: number): void {
    this.#member.reset();
    this.#skipThenHeader(skip);
    this.#sink.endEntry();
  }

  #truncated(): FormatError {
    const missing = this.#state === DATA || this.#state === SKIP ? this.#remaining : this.#need - this.#held;
    const of = this.#state === DATA ? ` of ${escapeBytes(this.#path)}` : "";
    const first = this.#member.firstHeader;
    const since = first < 0 ? "" : `; the entry's headers start at byte ${first}`;
    const detail = `the archive ends, expected ${missing} more bytes${of}${since}`;
    return new FormatError("ERR_TRUNCATED", `tar ${WANTED[this.#state]}`, this.#bytesRead, detail);
  }
}

/** `size` rounded up to whole blocks. */
function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function unsupported(typeflag: number, at: number): FormatError {
  const found = JSON.stringify(String.fromCharCode(typeflag));
  const detail = `found ${found}, which is no file, directory, link, device or fifo`;
  return new FormatError("ERR_UNSUPPORTED", "tar header.typeflag", at, detail);
}
