import { allocAligned, type NativeBuffer, PAGE_SIZE } from "../../sys/index.ts";

/** Memory whose first `headerBytes` bytes end on a page, so that what follows starts on one; `bytes` in all. */
export function endingOnPage(headerBytes: number, bytes: number): NativeBuffer {
  const whole = allocAligned(PAGE_SIZE + bytes);
  const skip = PAGE_SIZE - headerBytes;
  return { address: whole.address + skip, bytes: whole.bytes.subarray(skip, skip + bytes) };
}
