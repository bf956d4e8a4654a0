import { crc32 } from "node:zlib";
import { FormatError } from "../../formats/bytes/index.ts";

// Header flags, RFC 1952 section 2.3.1.
const FHCRC = 2;
const FEXTRA = 4;
const FNAME = 8;
const FCOMMENT = 16;
const RESERVED = 0xe0;
const DEFLATE = 8;
const MAGIC_BYTES = 2;
/** CM, FLG, MTIME, XFL, OS. */
const BASE_HEADER_BYTES = 8;
const TRAILER_BYTES = 8;
/** Longest name or comment taken, in bytes; gzip and Go write and read far shorter ones. */
const MAX_TEXT_BYTES = 65536;

/** Parts of a gzip stream, in the order they come in. `padding` is what may follow the last member. */
type Part =
  | "magic"
  | "base"
  | "extraLength"
  | "extra"
  | "name"
  | "comment"
  | "headerCrc"
  | "body"
  | "trailer"
  | "next"
  | "padding";

/**
 * The parts of a gzip stream that are not deflate data (RFC 1952): headers, trailers, and what lies between members.
 *
 *     member … member  zeros*        member: header  deflate stream  crc32  isize
 *
 * Bytes go through `push` until it reports a body; the decoder takes over, and `bodyEnd` gives its sums for the trailer.
 * Any number of members is one stream, as gzip has it (pigz and eStargz make many). Zero bytes after the last member
 * are padding, as in gzip(1); any other byte there is an error, as in Go's compress/gzip and so in containerd (gzip(1)
 * would warn and ignore it: not something to do with a layer).
 */
export class GzipFraming {
  #part: Part = "magic";
  /** Bytes of the current fixed-size part read so far. */
  readonly #fixed = Buffer.alloc(BASE_HEADER_BYTES);
  #have = 0;
  #flags = 0;
  #left = 0;
  #headerCrc = 0;
  #expectedCrc = 0;
  #expectedSize = 0;

  /** Whether the next byte belongs to a deflate stream. */
  get inBody(): boolean {
    return this.#part === "body";
  }

  /**
   * Reads bytes[from, to) up to the next deflate stream.
   * @param offset where in the stream bytes[from] lies, for errors.
   * @returns the index after the last byte taken; less than `to` only when a deflate stream starts there.
   * @throws FormatError when the bytes are no gzip stream, or a checksum or size is wrong.
   */
  push(bytes: Buffer, from: number, to: number, offset: number): number {
    let at = from;
    while (at < to && this.#part !== "body") at = this.#take(bytes, at, to, offset + at - from);
    return at;
  }

  /** The deflate stream has ended. `crc` and `size` are its output's CRC-32 and length in bytes. */
  bodyEnd(crc: number, size: number): void {
    this.#expectedCrc = crc;
    this.#expectedSize = size;
    this.#part = "trailer";
  }

  /**
   * The input has ended, at `offset`.
   * @throws FormatError ERR_TRUNCATED unless a member had just ended.
   */
  end(offset: number): void {
    if (this.#part !== "next" && this.#part !== "padding")
      throw new FormatError("ERR_TRUNCATED", "gzip", offset, `the input ends inside the ${NAMES[this.#part]}`);
  }

  #take(bytes: Buffer, at: number, to: number, offset: number): number {
    switch (this.#part) {
      case "magic":
        return this.#fixedPart(bytes, at, to, offset, MAGIC_BYTES, this.#magic);
      case "base":
        return this.#fixedPart(bytes, at, to, offset, BASE_HEADER_BYTES, this.#baseHeader);
      case "extraLength":
        return this.#fixedPart(bytes, at, to, offset, 2, this.#extraLength);
      case "extra":
        return this.#skipExtra(bytes, at, to);
      case "name":
        return this.#skipText(bytes, at, to, offset, FNAME);
      case "comment":
        return this.#skipText(bytes, at, to, offset, FCOMMENT);
      case "headerCrc":
        return this.#fixedPart(bytes, at, to, offset, 2, this.#checkHeaderCrc);
      case "trailer":
        return this.#fixedPart(bytes, at, to, offset, TRAILER_BYTES, this.#trailer);
      case "next":
        this.#part = bytes[at] === 0 ? "padding" : "magic";
        return at;
      case "padding":
        return skipZeros(bytes, at, to, offset);
      case "body":
        return at;
    }
  }

  /** Collects `size` bytes, then hands them over, with the offset of the first. */
  #fixedPart(
    bytes: Buffer,
    at: number,
    to: number,
    offset: number,
    size: number,
    done: (offset: number) => void,
  ): number {
    const end = Math.min(to, at + size - this.#have);
    bytes.copy(this.#fixed, this.#have, at, end);
    this.#have += end - at;
    if (this.#have < size) return end;
    this.#have = 0;
    done.call(this, offset + (end - at) - size);
    return end;
  }

  #magic(offset: number): void {
    const found = this.#fixed.toString("hex", 0, MAGIC_BYTES);
    if (found !== "1f8b")
      throw new FormatError("ERR_BAD_VALUE", "gzip member header", offset, `starts with ${found}, expected 1f8b`);
    this.#headerCrc = crc32(this.#fixed.subarray(0, MAGIC_BYTES));
    this.#part = "base";
  }

  #baseHeader(offset: number): void {
    const method = this.#fixed[0]!;
    const flags = this.#fixed[1]!;
    if (method !== DEFLATE)
      throw new FormatError("ERR_UNSUPPORTED", "gzip CM", offset, `found method ${method}, only deflate (8) exists`);
    if ((flags & RESERVED) !== 0)
      throw new FormatError("ERR_BAD_VALUE", "gzip FLG", offset + 1, `reserved bits set in 0x${flags.toString(16)}`);
    this.#flags = flags;
    this.#headerCrc = crc32(this.#fixed.subarray(0, BASE_HEADER_BYTES), this.#headerCrc);
    this.#nextHeaderPart(FEXTRA);
  }

  #extraLength(): void {
    this.#left = this.#fixed.readUInt16LE(0);
    this.#headerCrc = crc32(this.#fixed.subarray(0, 2), this.#headerCrc);
    if (this.#left > 0) this.#part = "extra";
    else this.#nextHeaderPart(FNAME);
  }

  #skipExtra(bytes: Buffer, at: number, to: number): number {
    const end = Math.min(to, at + this.#left);
    this.#headerCrc = crc32(bytes.subarray(at, end), this.#headerCrc);
    this.#left -= end - at;
    if (this.#left === 0) this.#nextHeaderPart(FNAME);
    return end;
  }

  /** Skips a NUL-terminated text; `#left` counts down what it may still take. */
  #skipText(bytes: Buffer, at: number, to: number, offset: number, flag: number): number {
    const nul = bytes.subarray(at, Math.min(to, at + this.#left)).indexOf(0);
    const end = nul < 0 ? Math.min(to, at + this.#left) : at + nul + 1;
    this.#headerCrc = crc32(bytes.subarray(at, end), this.#headerCrc);
    this.#left -= end - at;
    if (nul >= 0) this.#nextHeaderPart(flag << 1);
    else if (this.#left === 0) {
      const field = flag === FNAME ? "gzip FNAME" : "gzip FCOMMENT";
      throw new FormatError("ERR_BAD_VALUE", field, offset, `longer than ${MAX_TEXT_BYTES} bytes`);
    }
    return end;
  }

  #checkHeaderCrc(offset: number): void {
    const [found, expected] = [this.#fixed.readUInt16LE(0), this.#headerCrc & 0xffff];
    if (found !== expected) throw wrong("gzip header CRC16", offset, found, expected);
    this.#part = "body";
  }

  /** Goes to the first of the optional parts from `flag` on that the header announces. */
  #nextHeaderPart(flag: number): void {
    this.#left = MAX_TEXT_BYTES;
    if (flag <= FEXTRA && this.#flags & FEXTRA) this.#part = "extraLength";
    else if (flag <= FNAME && this.#flags & FNAME) this.#part = "name";
    else if (flag <= FCOMMENT && this.#flags & FCOMMENT) this.#part = "comment";
    else this.#part = this.#flags & FHCRC ? "headerCrc" : "body";
  }

  #trailer(offset: number): void {
    const [crc, size] = [this.#fixed.readUInt32LE(0), this.#fixed.readUInt32LE(4)];
    if (crc !== this.#expectedCrc) throw wrong("gzip CRC32", offset, crc, this.#expectedCrc);
    const expectedSize = this.#expectedSize % 2 ** 32;
    if (size !== expectedSize) throw wrong("gzip ISIZE", offset + 4, size, expectedSize);
    this.#part = "next";
  }
}

const NAMES: Readonly<Record<Part, string>> = {
  magic: "member header",
  base: "member header",
  extraLength: "extra field's length",
  extra: "extra field",
  name: "file name",
  comment: "comment",
  headerCrc: "header CRC",
  body: "deflate data",
  trailer: "member trailer",
  next: "end",
  padding: "padding",
};

function skipZeros(bytes: Buffer, at: number, to: number, offset: number): number {
  for (let i = at; i < to; i++)
    if (bytes[i] !== 0)
      throw new FormatError(
        "ERR_BAD_VALUE",
        "gzip padding",
        offset + i - at,
        `found 0x${bytes[i]!.toString(16)} after the last member, expected zeros or nothing`,
      );
  return to;
}

function wrong(field: string, offset: number, found: number, computed: number): FormatError {
  const detail = `found 0x${found.toString(16)}, the data has 0x${computed.toString(16)}`;
  return new FormatError("ERR_BAD_VALUE", field, offset, detail);
}
