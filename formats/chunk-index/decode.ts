import { FormatError, getU53 } from "../bytes/index.ts";
import {
  type ChunkCompression,
  type ChunkHash,
  COMPRESSION_TYPES,
  Entry,
  HASH_ALGO_SHA2,
  HASH_BYTES,
  Header,
  MAGIC,
  MAX_CHUNK_BYTES,
  MAX_INDEX_BYTES,
  maxStoredBytes,
  VERSION,
} from "./format.ts";

/** Where the chunks of a blob's content lie in the blob. All sizes and offsets in bytes. */
export class ChunkIndex {
  readonly compression: ChunkCompression;
  readonly hash: ChunkHash;
  /** How many chunks there are. */
  readonly count: number;
  /** Size of the content. */
  readonly size: number;
  readonly #offsets: Float64Array;
  readonly #storedOffsets: Float64Array;
  readonly #storedEnd: number;
  readonly #payload: Uint8Array;

  /** Made by `decodeChunkIndex`, which has checked it all. */
  constructor(header: DecodedHeader, storedEnd: number, payload: Uint8Array) {
    this.compression = header.compression;
    this.hash = header.hash;
    this.count = header.count;
    this.size = header.size;
    this.#storedEnd = storedEnd;
    this.#payload = payload;
    // One more than there are chunks, so that a length is a difference.
    this.#offsets = new Float64Array(this.count + 1);
    this.#storedOffsets = new Float64Array(this.count);
    this.#offsets[this.count] = this.size;
    const dv = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    for (let i = 0, at = Header.size; i < this.count; i++, at += this.#entryBytes) {
      this.#storedOffsets[i] = getU53(dv, at + Entry.at.blockOffset, `entry[${i}].BlockOffset`);
      this.#offsets[i] = getU53(dv, at + Entry.at.uncompressedOffset, `entry[${i}].UncompressedOffset`);
    }
  }

  get #entryBytes(): number {
    return Entry.size + HASH_BYTES[this.hash];
  }

  /** Where the chunk's content starts. */
  offset(chunk: number): number {
    return this.#offsets[chunk]!;
  }
  /** How long its content is. */
  bytes(chunk: number): number {
    return this.#offsets[chunk + 1]! - this.#offsets[chunk]!;
  }
  /** Where in the blob its stored bytes start. */
  storedOffset(chunk: number): number {
    return this.#storedOffsets[chunk]!;
  }
  /** How many stored bytes it has. */
  storedBytes(chunk: number): number {
    if (this.compression === "none") return this.bytes(chunk);
    const end = chunk + 1 < this.count ? this.#storedOffsets[chunk + 1]! : this.#storedEnd;
    return end - this.#storedOffsets[chunk]!;
  }
  /** Digest of the stored bytes, a view; empty when the index has none. */
  checksum(chunk: number): Uint8Array {
    const at = Header.size + chunk * this.#entryBytes + Entry.size;
    return this.#payload.subarray(at, at + HASH_BYTES[this.hash]);
  }

  /** The chunk that holds the content's byte at `offset`, which must be below `size`. */
  chunkAt(offset: number): number {
    // Chunks of equal size, which is what everybody writes, are found at the first look.
    let low = 0;
    let high = this.count - 1;
    let middle = Math.min(high, Math.floor(offset / (this.#offsets[1] ?? 1)));
    while (low < high) {
      if (this.#offsets[middle]! > offset) high = middle - 1;
      else if (this.#offsets[middle + 1]! <= offset) low = middle + 1;
      else return middle;
      middle = (low + high) >>> 1;
    }
    return low;
  }
}

interface DecodedHeader {
  readonly compression: ChunkCompression;
  readonly hash: ChunkHash;
  readonly count: number;
  readonly size: number;
}

/**
 * Reads a chunk index.
 *
 * @param payload the index alone, without the frame around it
 * @param storedEnd where the chunks' stored bytes end at the latest: where the index starts in its blob, or the size of the
 *   blob when the index is a layer of its own
 * @throws FormatError ERR_UNSUPPORTED for what a later version may mean (then the blob can be read from start to end
 *   only), ERR_TRUNCATED and ERR_BAD_VALUE for an index that contradicts itself or its blob
 */
export function decodeChunkIndex(payload: Uint8Array, storedEnd: number): ChunkIndex {
  if (payload.length > MAX_INDEX_BYTES)
    throw new FormatError(
      "ERR_UNSUPPORTED",
      "chunk index",
      0,
      `${payload.length} bytes, at most ${MAX_INDEX_BYTES} are read`,
    );
  const header = decodeHeader(payload);
  const expected = Header.size + header.count * (Entry.size + HASH_BYTES[header.hash]);
  if (payload.length !== expected)
    throw new FormatError(
      payload.length < expected ? "ERR_TRUNCATED" : "ERR_BAD_VALUE",
      "chunk_index_header.numChunks",
      Header.at.numChunks,
      `${header.count} chunks take ${expected} bytes, found ${payload.length}`,
    );
  const index = new ChunkIndex(header, storedEnd, payload);
  checkChunks(index, storedEnd);
  return index;
}

function decodeHeader(payload: Uint8Array): DecodedHeader {
  const header = Header.view(payload);
  const wrong = (field: keyof typeof Header.at, expected: string, code: FormatError["code"] = "ERR_BAD_VALUE") =>
    new FormatError(
      code,
      `chunk_index_header.${field}`,
      Header.at[field],
      `found ${header[field]}, expected ${expected}`,
    );
  if (header.magic !== MAGIC) throw wrong("magic", String(MAGIC));
  if (header.version !== VERSION) throw wrong("version", "1", "ERR_UNSUPPORTED");
  const compression = COMPRESSION_TYPES[header.compressionType];
  if (compression === undefined) throw wrong("compressionType", "0 (none) or 1 (zstd)", "ERR_UNSUPPORTED");
  if (header.flags !== 0) throw wrong("flags", "0", "ERR_UNSUPPORTED");
  if (header.reserved.some((byte) => byte !== 0)) throw wrong("reserved", "zeros");
  const hash = hashOf(header.hashAlgo, header.hashSize);
  if (hash === undefined) {
    if (header.hashAlgo > HASH_ALGO_SHA2) throw wrong("hashAlgo", "0 (none) or 1 (SHA-2)", "ERR_UNSUPPORTED");
    throw wrong("hashSize", header.hashAlgo === 0 ? "0" : "32 or 64");
  }
  const { numChunks: count, uncompressedSize: size } = header;
  if (count === 0 && size !== 0) throw wrong("uncompressedSize", "0, for there are no chunks");
  return { compression, hash, count, size };
}

function hashOf(algorithm: number, bytes: number): ChunkHash | undefined {
  if (algorithm === 0) return bytes === 0 ? "none" : undefined;
  if (algorithm !== HASH_ALGO_SHA2) return undefined;
  return bytes === HASH_BYTES.sha256 ? "sha256" : bytes === HASH_BYTES.sha512 ? "sha512" : undefined;
}

/** Chunks must cover the content without gaps, in order; their stored bytes must not overlap, and lie before `storedEnd`. */
function checkChunks(index: ChunkIndex, storedEnd: number): void {
  const entryBytes = Entry.size + HASH_BYTES[index.hash];
  const wrong = (chunk: number, field: "BlockOffset" | "UncompressedOffset", detail: string, unsupported = false) =>
    new FormatError(
      unsupported ? "ERR_UNSUPPORTED" : "ERR_BAD_VALUE",
      `entry[${chunk}].${field}`,
      Header.size + chunk * entryBytes + (field === "BlockOffset" ? Entry.at.blockOffset : Entry.at.uncompressedOffset),
      detail,
    );
  if (index.count > 0 && index.offset(0) !== 0)
    throw wrong(0, "UncompressedOffset", `found ${index.offset(0)}, expected 0`);
  for (let chunk = 0, free = 0; chunk < index.count; chunk++) {
    const bytes = index.bytes(chunk);
    if (bytes <= 0)
      throw wrong(
        chunk,
        "UncompressedOffset",
        `found ${index.offset(chunk)}, expected less than ${index.offset(chunk) + bytes}, where it ends`,
      );
    if (bytes > MAX_CHUNK_BYTES)
      throw wrong(
        chunk,
        "UncompressedOffset",
        `the chunk is ${bytes} bytes long, at most ${MAX_CHUNK_BYTES} are read`,
        true,
      );
    const start = index.storedOffset(chunk);
    if (start < free)
      throw wrong(chunk, "BlockOffset", `found ${start}, expected ${free} or more, where the chunk before it ends`);
    const stored = index.storedBytes(chunk);
    if (stored <= 0 || start + stored > storedEnd)
      throw wrong(
        chunk,
        "BlockOffset",
        `found ${start} and ${stored} bytes from there, expected an end of at most ${storedEnd}`,
      );
    if (stored > maxStoredBytes(bytes))
      throw wrong(
        chunk,
        "BlockOffset",
        `${bytes} bytes of content are stored in ${stored}, at most ${maxStoredBytes(bytes)} make sense`,
      );
    free = start + stored;
  }
}
