/**
 * The few x86-64 instructions that a list of system calls is made of. Intel SDM volume 2; the calling convention is in
 * Linux Documentation/arch/x86/entry_64.rst and the psABI, A.2.1: number in rax, arguments in rdi, rsi, rdx, r10, r8,
 * r9, result in rax.
 */

/** System call numbers. Linux arch/x86/entry/syscalls/syscall_64.tbl. */
export const X86_64_CALLS = {
  write: 1,
  open: 2,
  close: 3,
  rt_sigaction: 13,
  rt_sigprocmask: 14,
  ioctl: 16,
  dup2: 33,
  socket: 41,
  execve: 59,
  chdir: 80,
  mkdir: 83,
  symlink: 88,
  chown: 92,
  umask: 95,
  setsid: 112,
  setgroups: 116,
  setresuid: 117,
  setresgid: 119,
  mknod: 133,
  chroot: 161,
  mount: 165,
  reboot: 169,
  sethostname: 170,
  exit_group: 231,
  unshare: 272,
  prlimit64: 302,
  finit_module: 313,
} as const;

/** Register numbers as instructions encode them, in the order of a call's arguments. */
const ARGUMENTS = [7, 6, 2, 10, 8, 9] as const;
const RAX = 0;
/** Callee-saved: keeps the result that RESULT stands for. */
const RBX = 3;

export const SYSCALL = [0x0f, 0x05] as const;
/** `mov rbx, rax` */
export const KEEP_RESULT = [0x48, 0x89, 0xc3] as const;

/** Loads the number of the call. */
export function loadNumber(number: number): number[] {
  return load(RAX, number);
}

/** Loads argument `index` with a constant. */
export function loadArgument(index: number, value: number): number[] {
  return load(argument(index), value);
}

/** Loads argument `index` with the kept result: `mov reg, rbx`. */
export function loadKept(index: number): number[] {
  const register = argument(index);
  return [register >= 8 ? 0x49 : 0x48, 0x89, 0xc0 | (RBX << 3) | (register & 7)];
}

/** `test rax, rax; jns past`: skips `length` bytes unless the call failed. */
export function skipUnlessFailed(length: number): number[] {
  return [0x48, 0x85, 0xc0, 0x0f, 0x89, ...int32(length)];
}

/** `cmp eax, -errno; jne past`: skips `length` bytes unless the call failed with this error. */
export function skipUnlessError(errno: number, length: number): number[] {
  return [0x3d, ...int32(-errno), 0x0f, 0x85, ...int32(length)];
}

/** `jmp past` */
export function skip(length: number): number[] {
  return [0xe9, ...int32(length)];
}

function argument(index: number): number {
  const register = ARGUMENTS[index];
  if (register === undefined) throw new RangeError(`a system call has at most ${ARGUMENTS.length} arguments`);
  return register;
}

/** `mov r32, imm32`, which clears the upper half, where that does; else `mov r64, imm64`. */
function load(register: number, value: number): number[] {
  if (!Number.isSafeInteger(value)) throw new RangeError(`found ${value}, expected a whole number below 2^53`);
  const high = register >= 8;
  const opcode = 0xb8 | (register & 7);
  if (value >= 0 && value <= 0xffff_ffff) return [...(high ? [0x41] : []), opcode, ...int32(value)];
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return [high ? 0x49 : 0x48, opcode, ...bytes];
}

function int32(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >>> 24) & 0xff];
}
