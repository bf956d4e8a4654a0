/** Skippable zstd frames: RFC 8878, 3.1.2. */
import { FormatError } from "../bytes/index.ts";

/** The first of the 16 magic numbers; decoders pass over any of them. */
const SKIPPABLE_MAGIC = 0x184d_2a50;
const MAGIC_MASK = 0xffff_fff0;
/** Magic and length, in bytes. */
export const FRAME_HEADER_BYTES = 8;

/** `payload` as a skippable frame. */
export function skippableFrame(payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  const dv = new DataView(frame.buffer);
  dv.setUint32(0, SKIPPABLE_MAGIC, true);
  dv.setUint32(4, payload.length, true);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/**
 * A frame that makes what follows `offset` start on a multiple of 4, as the chunk index's frame should; empty when it does
 * already. Its bytes belong to the last chunk: readers take that to reach up to the index.
 */
export function paddingFrame(offset: number): Uint8Array {
  return offset % 4 === 0 ? new Uint8Array(0) : skippableFrame(new Uint8Array(4 - (offset % 4)));
}

/**
 * The payload of the skippable frame that `bytes` is, all of it.
 * @throws FormatError
 */
export function skippablePayload(bytes: Uint8Array): Uint8Array {
  if (bytes.length < FRAME_HEADER_BYTES)
    throw new FormatError("ERR_TRUNCATED", "skippable frame", 0, `needs 8 bytes, ${bytes.length} are there`);
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = dv.getUint32(0, true);
  if ((magic & MAGIC_MASK) >>> 0 !== SKIPPABLE_MAGIC)
    throw new FormatError(
      "ERR_BAD_VALUE",
      "skippable frame magic",
      0,
      `found 0x${magic.toString(16)}, expected 0x184d2a50 to 0x184d2a5f`,
    );
  const length = dv.getUint32(4, true);
  if (length !== bytes.length - FRAME_HEADER_BYTES)
    throw new FormatError(
      "ERR_BAD_VALUE",
      "skippable frame length",
      4,
      `found ${length}, expected the ${bytes.length - FRAME_HEADER_BYTES} bytes up to the end`,
    );
  return bytes.subarray(FRAME_HEADER_BYTES);
}
