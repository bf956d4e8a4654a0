/** For tests: what can happen to an archive. */
import fc from "fast-check";
import { hasChecksum, setChecksum } from "./testing.ts";

const anywhere = fc.double({ min: 0, max: 1, noNaN: true });
/** A header, or (odd) the block after it: see blockAt. */
const block = fc.nat(400);
/** Any byte of a block, often one of a field that matters: numbers, typeflag, magic, sparse map. */
const field = fc.oneof(
  fc.nat(511),
  fc.constantFrom(0, 102, 110, 124, 130, 135, 136, 156, 262, 329, 386, 410, 482, 483, 504),
);

/** Any damage: a byte changed, the end cut off, blocks copied over others. */
export const damage = fc.oneof(
  fc.record({ kind: fc.constant("flip" as const), at: anywhere, value: fc.nat(255) }),
  fc.record({ kind: fc.constant("digit" as const), block, field, value: fc.constantFrom(..."0179 \0\x80\xff,=\n") }),
  fc.record({ kind: fc.constant("cut" as const), at: anywhere }),
  fc.record({ kind: fc.constant("splice" as const), from: block, to: block, blocks: fc.integer({ min: 1, max: 5 }) }),
);

export type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never;

/** A copy of the archive with all this done to it. Most headers then have right checksums, so that the damage is read. */
export function damaged(archive: Buffer, all: readonly Damage[]): Buffer {
  let out = Buffer.from(archive);
  const heads: number[] = [];
  for (let p = 0; p < out.length; p += 512) if (hasChecksum(out, p)) heads.push(p);
  const blockAt = (n: number) => (heads[(n >> 1) % heads.length] ?? 0) + (n & 1) * 512;
  for (const d of all) {
    if (d.kind === "flip") out[Math.floor(d.at * (out.length - 1))] = d.value;
    else if (d.kind === "cut") out = out.subarray(0, Math.floor(d.at * out.length));
    else if (d.kind === "splice") out.copyWithin(blockAt(d.to), blockAt(d.from), blockAt(d.from) + d.blocks * 512);
    else if (blockAt(d.block) + d.field < out.length) out[blockAt(d.block) + d.field] = d.value.charCodeAt(0);
  }
  for (const p of heads) if (p + 512 <= out.length) setChecksum(out, p);
  return out;
}
