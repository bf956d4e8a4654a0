import type { Random } from "../../../formats/bytes/testing.ts";
import { CopyFileRangeIn, FallocateIn, InHeader, Opcode } from "../../../formats/fuse/index.ts";
import { IN_ARGS, OPERATIONS } from "../index.ts";

/** A FUSE message that a hostile guest might send. */
export interface HostileMessage {
  readonly opcode: number;
  readonly input: Buffer;
  readonly data: Buffer;
  /** Bytes that it takes as a reply. */
  readonly limit: number;
}

const OPCODES = Object.values(Opcode);
/** Numbers at which code goes wrong: ends of types, of limits, of files. */
const EDGES = [0, 1, 2, 3, 7, 8, 255, 256, 4095, 4096, 65535, 65536, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
const NAMES = [
  "a",
  "b",
  "d",
  ".",
  "..",
  "",
  "/",
  "../..",
  "a/b",
  "\xff\xfe",
  "n".repeat(255),
  "n".repeat(256),
  "n".repeat(5000),
];

/**
 * A message of a random operation: well formed at first, then damaged in some of its parts. About a half stays well formed
 * enough to reach a handler.
 * @param nodes node IDs that may mean something
 * @param handles file handles that may
 */
export function hostileMessage(random: Random, nodes: readonly number[], handles = nodes): HostileMessage {
  const opcode = random.chance(3) ? random.below(70) : random.of(OPCODES);
  const operation = OPERATIONS[opcode];
  const args = argumentBytes(random, operation?.argBytes ?? random.below(64), random.chance(70) ? handles : nodes);
  const names = (operation?.names ?? []).map(() =>
    Buffer.from(`${random.of(random.chance(80) ? NAMES.slice(0, 3) : NAMES)}\0`, "latin1"),
  );
  const data = opcode === Opcode.WRITE ? Buffer.alloc(random.of([0, 1, 100, 4096, 70000]), 0x77) : Buffer.alloc(0);
  const rest =
    (operation?.tail ?? 0) === 1 || random.chance(3)
      ? Buffer.from(random.bytes(random.below(200), 0), "latin1")
      : Buffer.alloc(0);
  const input = Buffer.concat([Buffer.alloc(IN_ARGS), args, ...names, rest]);
  fixSizes(opcode, input, args.length, rest.length, data.length, random);
  const header = InHeader.view(input);
  header.len = input.length + data.length;
  header.opcode = opcode;
  header.unique = BigInt(random.below(1 << 30)) * 2n;
  header.nodeid = random.of(nodes);
  header.uid = random.of([0, 1000, 0xffffffff]);
  header.gid = random.of([0, 1000, 0xffffffff]);
  header.totalExtlen = random.chance(5) ? random.below(100) : 0;
  if (random.chance(30)) damage(random, input);
  spareDisk(input);
  const isCut = random.chance(10);
  return {
    opcode: input.readUInt32LE(InHeader.at.opcode),
    input: isCut ? input.subarray(0, random.below(input.length + 1)) : input,
    data,
    limit: random.of([0, 16, 128, 144, 4096, 4096, 4096, 1 << 20]),
  };
}

function argumentBytes(random: Random, length: number, nodes: readonly number[]): Buffer {
  const args = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) {
    if (random.chance(85)) continue;
    args.writeUInt32LE(random.chance(50) ? random.of(EDGES) : random.of(nodes) >>> 0, at);
  }
  // Most arguments begin with a handle or a node.
  if (length >= 8 && random.chance(60)) args.writeBigUInt64LE(BigInt(random.of(nodes)), 0);
  return args;
}

/** Makes the sizes that a message states about itself true, mostly. */
function fixSizes(opcode: number, input: Buffer, args: number, rest: number, data: number, random: Random): void {
  if (random.chance(10)) return;
  if (opcode === Opcode.WRITE && args >= 20) input.writeUInt32LE(data, IN_ARGS + 16);
  if (opcode === Opcode.SETXATTR && args >= 4) input.writeUInt32LE(rest, IN_ARGS);
  if ((opcode === Opcode.READ || opcode === Opcode.READDIR) && args >= 20) input.writeUInt32LE(4096, IN_ARGS + 16);
}

/** Most bytes that a message may have allocated or copied. Sizes are tried to their ends, but the disk is not filled. */
const MAX_ALLOCATED_BYTES = 1 << 20;

function spareDisk(input: Buffer): void {
  const opcode = input.readUInt32LE(InHeader.at.opcode);
  const isCopy = opcode === Opcode.COPY_FILE_RANGE || opcode === Opcode.COPY_FILE_RANGE_64;
  if (!isCopy && opcode !== Opcode.FALLOCATE) return;
  const at = IN_ARGS + (isCopy ? CopyFileRangeIn.at.len : FallocateIn.at.length);
  if (at + 8 > input.length) return;
  const isRefused = input.readUInt32LE(at + 4) > 0x1fffff; // From 2^53 on.
  if (isRefused) return;
  input.writeUInt32LE(input.readUInt32LE(at) % MAX_ALLOCATED_BYTES, at);
  input.writeUInt32LE(0, at + 4);
}

function damage(random: Random, input: Buffer): void {
  for (let count = 1 + random.below(4); count > 0; count--) {
    const at = random.below(input.length);
    if (random.chance(50)) input[at] = random.below(256);
    else if (at + 4 <= input.length) input.writeUInt32LE(random.of(EDGES), at);
  }
}
