import { setU53 } from "../bytes/index.ts";
import {
  type ChunkCompression,
  type ChunkHash,
  COMPRESSION_TYPES,
  Entry,
  HASH_ALGO_SHA2,
  HASH_BYTES,
  Header,
  MAGIC,
  VERSION,
} from "./format.ts";

/**
 * Writes a chunk index, chunk by chunk in order.
 *
 * @example
 * const index = new ChunkIndexWriter("zstd", "sha256");
 * index.add(0, 0, sha256(frame)); …
 * blob.write(skippableFrame(index.finish(contentBytes)));
 */
export class ChunkIndexWriter {
  readonly #compression: ChunkCompression;
  readonly #hash: ChunkHash;
  readonly #entryBytes: number;
  #bytes: Uint8Array = new Uint8Array(FIRST_BYTES);
  #end: number = Header.size;
  #count = 0;

  constructor(compression: ChunkCompression, hash: ChunkHash) {
    this.#compression = compression;
    this.#hash = hash;
    this.#entryBytes = Entry.size + HASH_BYTES[hash];
  }

  /**
   * The next chunk.
   * @param storedOffset where its stored bytes start in the blob
   * @param offset where its content starts
   * @param checksum digest of its stored bytes, of the hash's length; it is copied
   */
  add(storedOffset: number, offset: number, checksum: Uint8Array): void {
    if (checksum.length !== HASH_BYTES[this.#hash])
      throw new RangeError(`checksum of ${checksum.length} bytes, ${this.#hash} has ${HASH_BYTES[this.#hash]}`);
    if (this.#end + this.#entryBytes > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#bytes.length);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    const dv = new DataView(this.#bytes.buffer);
    setU53(dv, this.#end + Entry.at.blockOffset, storedOffset);
    setU53(dv, this.#end + Entry.at.uncompressedOffset, offset);
    this.#bytes.set(checksum, this.#end + Entry.size);
    this.#end += this.#entryBytes;
    this.#count++;
  }

  /** The index of content of `uncompressedSize` bytes. */
  finish(uncompressedSize: number): Uint8Array {
    const header = Header.view(this.#bytes);
    header.magic = MAGIC;
    header.version = VERSION;
    header.compressionType = COMPRESSION_TYPES.indexOf(this.#compression);
    header.uncompressedSize = uncompressedSize;
    header.numChunks = this.#count;
    header.hashAlgo = this.#hash === "none" ? 0 : HASH_ALGO_SHA2;
    header.hashSize = HASH_BYTES[this.#hash];
    return this.#bytes.slice(0, this.#end);
  }
}

/** Room for the first chunks, in bytes; it doubles. */
const FIRST_BYTES = 4096;
