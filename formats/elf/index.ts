/** Small static ELF programs that make a list of system calls: for guests, which need not have a libc or a shell. */
export { type Failure, type Operand, type Policy, RESULT, SyscallProgram } from "./program.ts";
export { X86_64_CALLS } from "./x86-64.ts";
