import type { ByteString } from "../../bytes/index.ts";

/** Up to here a loop beats the call into native code. */
const SHORT = 32;

/** Writes a byte string into the image. */
export function putBytes(meta: Buffer, bytes: ByteString, at: number): void {
  if (bytes.length > SHORT) meta.write(bytes, at, "latin1");
  else for (let i = 0; i < bytes.length; i++) meta[at + i] = bytes.charCodeAt(i);
}
