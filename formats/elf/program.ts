import { struct } from "../bytes/index.ts";
import * as x86 from "./x86-64.ts";

/** The result of the last call that was made with policy `keep` or a failure list, as an argument. */
export const RESULT: unique symbol = Symbol("result");

/**
 * An argument of a system call: a number, the address of bytes, the address of a table of pointers to bytes that ends with
 * NULL (argv, envp), bytes that the kernel may change, or the kept result.
 */
export type Operand = number | Uint8Array | readonly Uint8Array[] | InOut | typeof RESULT;

/** With 1, waits until a terminal has sent what was written to it (tcdrain). Linux asm-generic/ioctls.h. */
const TCSBRK = 0x5409;

/** Bytes that the kernel reads and writes. The same object is the same memory in all calls, equal bytes are not. */
export interface InOut {
  readonly inout: Uint8Array;
}

/** What to do when a call fails: say something on descriptor 2 and end. */
export interface Failure {
  /** The error it is for; without it, for every error that none before it names. */
  readonly errno?: number;
  readonly message: string;
  /** Exit status. */
  readonly status: number;
}

/**
 * `ignore`: go on whatever happens. `keep`: go on and keep the result. A list: keep the result, or fail as it says, but for
 * errors to pass over.
 */
export type Policy =
  | "ignore"
  | "keep"
  | readonly Failure[]
  | { readonly passOver: readonly number[]; readonly failures: readonly Failure[] };

/** `Elf64_Ehdr`. System V ABI, chapter 4. */
const ElfHeader = struct("Elf64_Ehdr", 64, {
  ident: "bytes16",
  type: "u16",
  machine: "u16",
  version: "u32",
  entry: "u53",
  phoff: "u53",
  shoff: "u53",
  flags: "u32",
  ehsize: "u16",
  phentsize: "u16",
  phnum: "u16",
  shentsize: "u16",
  shnum: "u16",
  shstrndx: "u16",
});

/** `Elf64_Phdr`. System V ABI, chapter 5. */
const ProgramHeader = struct("Elf64_Phdr", 56, {
  type: "u32",
  flags: "u32",
  offset: "u53",
  vaddr: "u53",
  paddr: "u53",
  filesz: "u53",
  memsz: "u53",
  align: "u53",
});

/** 64-bit, little-endian, version 1, System V. */
const IDENT = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const ET_EXEC = 2;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PF_R_X = 5;
const PF_R_W_X = 7;
/** Where the file lies in memory: the usual place of static programs. */
const BASE = 0x40_0000;
const PAGE = 4096;
const HEADERS = ElfHeader.size + ProgramHeader.size;

/**
 * A program for x86-64 Linux that makes system calls one after the other, with constant arguments, and needs nothing: no
 * libc, no loader, no shell. Arguments are exact bytes, so nothing has to be quoted.
 *
 *     | ELF header | program header | data: strings, pointer tables | code |     one executable segment, read-only when
 *                                                                                the kernel is to write nothing into it
 *
 * @example
 * const program = new SyscallProgram();
 * program.call(X86_64_CALLS.write, [1, Buffer.from("hello\n"), 6]);
 * program.exit(0);
 * writeFileSync("hello", program.build(), { mode: 0o755 });
 */
export class SyscallProgram {
  readonly #data: Uint8Array[] = [];
  #dataBytes = 0;
  readonly #code: number[] = [];
  readonly #known = new Map<string, number>();
  readonly #changing = new Map<InOut, number>();

  /** Adds a call. */
  call(number: number, args: readonly Operand[], policy: Policy = "ignore"): this {
    this.#emit(x86.loadNumber(number));
    for (const [index, operand] of args.entries())
      this.#emit(operand === RESULT ? x86.loadKept(index) : x86.loadArgument(index, this.#value(operand)));
    this.#emit(x86.SYSCALL);
    if (policy === "ignore") return this;
    this.#emit(x86.KEEP_RESULT);
    if (policy === "keep") return this;
    if ("passOver" in policy) this.#emitFailures(policy.failures, policy.passOver);
    else this.#emitFailures(policy, []);
    return this;
  }

  /** Adds the end. */
  exit(status: number): this {
    return this.call(x86.X86_64_CALLS.exit_group, [status]);
  }

  /** The program as a file. */
  build(): Buffer {
    const file = Buffer.concat([new Uint8Array(HEADERS), ...this.#data, Uint8Array.from(this.#code)]);
    const header = ElfHeader.view(file);
    header.ident = IDENT;
    header.type = ET_EXEC;
    header.machine = EM_X86_64;
    header.version = 1;
    header.entry = BASE + HEADERS + this.#dataBytes;
    header.phoff = ElfHeader.size;
    header.ehsize = ElfHeader.size;
    header.phentsize = ProgramHeader.size;
    header.phnum = 1;
    const segment = ProgramHeader.view(file, ElfHeader.size);
    segment.type = PT_LOAD;
    segment.flags = this.#changing.size === 0 ? PF_R_X : PF_R_W_X;
    segment.vaddr = BASE;
    segment.paddr = BASE;
    segment.filesz = file.length;
    segment.memsz = file.length;
    segment.align = PAGE;
    return file;
  }

  #emit(bytes: readonly number[]): void {
    for (const byte of bytes) this.#code.push(byte);
  }

  /** Where an operand's bytes are, or the number itself. */
  #value(operand: Exclude<Operand, typeof RESULT>): number {
    if (typeof operand === "number") return operand;
    if (operand instanceof Uint8Array) return this.#place(operand, 1);
    if ("inout" in operand) return this.#placeChanging(operand);
    const table = Buffer.alloc((operand.length + 1) * 8);
    for (const [i, bytes] of operand.entries()) table.writeBigUInt64LE(BigInt(this.#place(bytes, 1)), i * 8);
    return this.#place(table, 8);
  }

  /** Puts bytes into the data, once, and returns their address. */
  #place(bytes: Uint8Array, align: number): number {
    const key = `${align} ${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1")}`;
    const address = this.#known.get(key) ?? this.#append(bytes, align);
    this.#known.set(key, address);
    return address;
  }

  #placeChanging(operand: InOut): number {
    const address = this.#changing.get(operand) ?? this.#append(operand.inout, 8);
    this.#changing.set(operand, address);
    return address;
  }

  #append(bytes: Uint8Array, align: number): number {
    const gap = -(HEADERS + this.#dataBytes) & (align - 1);
    this.#data.push(new Uint8Array(gap), Uint8Array.from(bytes));
    const address = BASE + HEADERS + this.#dataBytes + gap;
    this.#dataBytes += gap + bytes.length;
    return address;
  }

  #emitFailures(failures: readonly Failure[], passOver: readonly number[]): void {
    let handlers = failures.flatMap((failure) => {
      const end = this.#failureCode(failure);
      return failure.errno === undefined ? end : [...x86.skipUnlessError(failure.errno, end.length), ...end];
    });
    for (const errno of passOver) {
      const over = x86.skip(handlers.length);
      handlers = [...x86.skipUnlessError(errno, over.length), ...over, ...handlers];
    }
    this.#emit(x86.skipUnlessFailed(handlers.length));
    this.#emit(handlers);
  }

  #failureCode({ message, status }: Failure): number[] {
    const text = Buffer.from(message);
    const { write, ioctl, exit_group } = x86.X86_64_CALLS;
    return [
      ...x86.loadNumber(write),
      ...[2, this.#place(text, 1), text.length].flatMap((value, i) => x86.loadArgument(i, value)),
      ...x86.SYSCALL,
      // Process 1 takes the kernel with it: what a terminal still has to send would be lost.
      ...x86.loadNumber(ioctl),
      ...[2, TCSBRK, 1].flatMap((value, i) => x86.loadArgument(i, value)),
      ...x86.SYSCALL,
      ...x86.loadNumber(exit_group),
      ...x86.loadArgument(0, status),
      ...x86.SYSCALL,
    ];
  }
}
