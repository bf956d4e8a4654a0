import { type ByteSource, outside } from "../../bytes/index.ts";

/** A stretch of the image at hand. `bytes` and `dv` show the same memory; do not write to it. */
export interface Page {
  readonly bytes: Buffer;
  readonly dv: DataView;
  /** Byte offset of `bytes[0]` in the image. */
  readonly start: number;
}

/** Bytes read at once: metadata lies close together, so neighbours are asked for next. */
const PAGE_BYTES = 256 * 1024;
/** Pages kept: 64 MiB. A source that is memory is one page, and none is kept. */
const MAX_PAGES = 256;

/**
 * The metadata of an image through a bounded cache of large pages, so that one code path is fast over memory, where all
 * is one page, and bearable over a file. Every access names its length and is checked against the image's size.
 */
export class Pages {
  readonly size: number;
  readonly #source: ByteSource;
  readonly #pages = new Map<number, Page>();
  /** All of the image, when it is memory. */
  readonly #whole: Page | null;

  constructor(source: ByteSource) {
    this.#source = source;
    this.size = source.size;
    this.#whole = source.whole === undefined ? null : pageOf(source.whole, 0);
  }

  /**
   * A page that holds `length` bytes from `offset`: at `offset - page.start` in it.
   * @throws FormatError ERR_TRUNCATED when the range is not wholly inside the image.
   */
  at(offset: number, length: number): Page {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) throw outside(offset, length, this.size);
    if (this.#whole !== null) return this.#whole;
    const index = Math.floor(offset / PAGE_BYTES);
    const page = this.#pages.get(index) ?? this.#load(index);
    if (offset + length <= page.start + page.bytes.length) return page;
    return this.#read(offset, length);
  }

  /** `length` bytes from `offset`: a view where it can be one. */
  bytes(offset: number, length: number): Buffer {
    const page = this.at(offset, length);
    return page.bytes.subarray(offset - page.start, offset - page.start + length);
  }

  #load(index: number): Page {
    if (this.#pages.size >= MAX_PAGES) {
      const oldest = this.#pages.keys().next();
      if (!oldest.done) this.#pages.delete(oldest.value);
    }
    const start = index * PAGE_BYTES;
    const page = this.#read(start, Math.min(PAGE_BYTES, this.size - start));
    this.#pages.set(index, page);
    return page;
  }

  #read(start: number, length: number): Page {
    return pageOf(this.#source.read(start, length), start);
  }
}

function pageOf(data: Uint8Array, start: number): Page {
  return {
    bytes: Buffer.from(data.buffer, data.byteOffset, data.byteLength),
    dv: new DataView(data.buffer, data.byteOffset, data.byteLength),
    start,
  };
}
