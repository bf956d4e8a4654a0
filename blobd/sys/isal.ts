import { crc32, deflateRawSync } from "node:zlib";
import { struct } from "../../formats/bytes/index.ts";
import { type Decoder, type DecodeStatus, onPool } from "./decoder.ts";
import { type Native, optionalLibrary } from "./koffi.ts";
import { addressOf, allocAligned, type NativeBuffer } from "./memory.ts";

/**
 * ISA-L's inflate, about twice as fast as zlib's: raw deflate streams with the CRC-32 of their output. gzip headers and
 * trailers are left to the caller: ISA-L forgets a header's CRC when the header comes in two pieces.
 */
export interface DeflateDecoder extends Decoder {
  /** CRC-32 of the output of the current or just ended stream. */
  crc(): number;
}

const SIGNATURES = {
  isal_inflate_init: ["void", "address"],
  isal_inflate_reset: ["void", "address"],
  isal_inflate: ["int", "address"],
} as const;

/** `struct inflate_state`, the same in ISA-L 2.24 to 2.32. isa-l/igzip_lib.h. */
const InflateState = struct("inflate_state", 87368, {
  nextOut: "u53",
  availOut: "u32",
  totalOut: "u32",
  nextIn: "u53",
  readIn: "u64",
  availIn: "u32",
  readInLength: "i32",
  litHuffCode: "bytes18912",
  distHuffCode: "bytes2208",
  blockState: "u32",
  dictLength: "u32",
  bfinal: "u32",
  crcFlag: "u32",
  crc: "u32",
  histBits: "u32",
  type0BlockLen: "i32",
  writeOverflowLits: "i32",
  writeOverflowLen: "i32",
  copyOverflowLength: "i32",
  copyOverflowDistance: "i32",
  wrapperFlag: "u16",
  tmpInSize: "u16",
  tmpOutValid: "i32",
  tmpOutProcessed: "i32",
  tmpInBuffer: "bytes328",
  tmpOutBuffer: "bytes65824",
});
/** Room after the structure, should another version's be larger: then the self-test fails, but nothing is overwritten. */
const SLACK_BYTES = 65536;
/** isal_block_state: the stream has ended and all of its output is written. */
const ISAL_BLOCK_FINISH = 5;
/** crc_flag: raw deflate, CRC-32 of the output computed. */
const ISAL_GZIP_NO_HDR = 2;
/** Results of isal_inflate. */
const ERRORS: Readonly<Record<number, string>> = {
  [-1]: "invalid deflate block",
  [-2]: "invalid deflate symbol",
  [-3]: "invalid lookback distance",
};

class IsalDecoder implements DeflateDecoder {
  readonly #library: Native<typeof SIGNATURES>;
  readonly #memory: NativeBuffer;
  readonly #state: ReturnType<typeof InflateState.view>;

  constructor(library: Native<typeof SIGNATURES>) {
    this.#library = library;
    this.#memory = allocAligned(InflateState.size + SLACK_BYTES);
    this.#state = InflateState.view(this.#memory.bytes);
    library.isal_inflate_init(this.#memory.address);
    this.#state.crcFlag = ISAL_GZIP_NO_HDR;
  }

  setInput(address: number, bytes: number): void {
    this.#state.nextIn = address;
    this.#state.availIn = bytes;
  }

  setOutput(address: number, bytes: number): void {
    this.#state.nextOut = address;
    this.#state.availOut = bytes;
  }

  inputLeft(): number {
    const { availIn, blockState, readInLength } = this.#state;
    // At the end of a stream most versions leave whole bytes that they took too early among the buffered bits.
    return blockState === ISAL_BLOCK_FINISH ? availIn + (readInLength >> 3) : availIn;
  }

  outputLeft(): number {
    return this.#state.availOut;
  }

  crc(): number {
    return this.#state.crc;
  }

  step(): DecodeStatus {
    return this.#status(this.#library.isal_inflate(this.#memory.address));
  }

  async stepAsync(): Promise<DecodeStatus> {
    return this.#status(await onPool(this.#library.isal_inflate, this.#memory.address));
  }

  #status(result: number): DecodeStatus {
    if (result !== 0) return { kind: "corrupt", reason: ERRORS[result] ?? `ISA-L result ${result}` };
    return this.#state.blockState === ISAL_BLOCK_FINISH ? "end" : "more";
  }

  reset(): void {
    this.#library.isal_inflate_reset(this.#memory.address);
    this.#state.crcFlag = ISAL_GZIP_NO_HDR;
    this.#state.crc = 0;
  }

  free(): void {
    // Its memory is the garbage collector's.
  }
}

const library = optionalLibrary("libisal.so.2", SIGNATURES);
let usable: boolean | undefined;

/** Whether ISA-L is installed and does what we expect of it; found out once a thread, in 0.2 ms. */
export function hasIsal(): boolean {
  if (usable === undefined) {
    const found = library();
    usable = found !== null && layoutIsKnown(found) && inflatesRight(new IsalDecoder(found));
  }
  return usable;
}

/**
 * A deflate decoder.
 * @throws Error when there is no usable ISA-L; ask `hasIsal` before.
 */
export function isalDecoder(): DeflateDecoder {
  const found = library();
  if (found === null || !hasIsal()) throw new Error("libisal.so.2 is not installed");
  return new IsalDecoder(found);
}

/** Lets the library fill in a patterned state: it must zero just the fields that our layout says it does. */
function layoutIsKnown(found: Native<typeof SIGNATURES>): boolean {
  const { address, bytes } = allocAligned(InflateState.size + SLACK_BYTES);
  const PATTERN = 0xa5;
  bytes.fill(PATTERN);
  found.isal_inflate_init(address);
  const allAre = (value: number, from: number, to: number) =>
    bytes.subarray(from, to).equals(Buffer.alloc(to - from, value));
  const { litHuffCode, blockState, tmpInBuffer } = InflateState.at;
  return (
    allAre(0, 0, litHuffCode) &&
    allAre(PATTERN, litHuffCode, blockState) &&
    allAre(0, blockState, tmpInBuffer) &&
    allAre(PATTERN, tmpInBuffer, bytes.length)
  );
}

/** Inflates a known stream that something else follows, its input cut in two and its output in three. */
function inflatesRight(decoder: DeflateDecoder): boolean {
  const expected = Buffer.from("a known answer, a known answer; ".repeat(64));
  const follows = Buffer.from("trailer");
  const deflated = allocAligned(4096);
  const length = Buffer.concat([deflateRawSync(expected), follows]).copy(deflated.bytes);
  const output = allocAligned(4096);
  const cut = length >> 1;
  const third = Math.floor(expected.length / 3);
  decoder.setInput(deflated.address, cut);
  for (const [start, end] of [
    [0, third],
    [third, 2 * third],
    [2 * third, expected.length],
  ] as const) {
    decoder.setOutput(output.address + start, end - start);
    let status = decoder.step();
    if (status === "more" && decoder.outputLeft() > 0) {
      decoder.setInput(deflated.address + cut, length - cut);
      status = decoder.step();
    }
    if (typeof status === "object") return false;
    if (end === expected.length)
      return (
        status === "end" &&
        decoder.inputLeft() === follows.length &&
        decoder.crc() === crc32(expected) &&
        output.bytes.subarray(0, expected.length).equals(expected) &&
        addressOf(output.bytes) === output.address
      );
  }
  return false;
}
