/** Operations: the first u32 of a request. Further arguments are u32 or u53 at 8, 16, 24, 32, a path at 40. */
export const OP = {
  ECHO: 0,
  PARK: 1,
  MAP: 2,
  UNMAP: 3,
  UNMAP_ALL: 4,
  PLACES: 5,
  RELEASE: 6,
  TRANSFER: 7,
  FAIL: 8,
  DIE: 9,
} as const;

/** A request's bytes. */
export function operation(op: number, args: readonly number[] = [], path = ""): Buffer {
  const bytes = Buffer.alloc(40 + Buffer.byteLength(path) + 1);
  bytes.writeUInt32LE(op);
  for (const [i, arg] of args.entries()) bytes.writeBigUInt64LE(BigInt(arg), 8 + i * 8);
  bytes.write(path, 40);
  return bytes;
}
