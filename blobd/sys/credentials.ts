import { check } from "./errno.ts";
import { koffi, loadLibrary, type Native } from "./koffi.ts";

const SIGNATURES = {
  // These two change the calling thread only; they answer what was before and never fail.
  setfsuid: ["int", "u32"],
  setfsgid: ["int", "u32"],
  umask: ["int", "u32"],
  prctl: ["int", "int", "long", "long", "long", "long"],
  unshare: ["int", "int"],
  fchdir: ["int", "int"],
  mount: ["int", "bytes", "bytes", "bytes", "long", "bytes"],
  umount2: ["int", "bytes", "int"],
  prlimit: ["int", "int", "int", "address", "address"],
  // System calls by number, SYS_THREAD: the C library's own functions change all threads of the process.
  setgroups: ["long", "long", "long", "address"],
  getgroups: ["long", "long", "long", "address"],
  capget: ["long", "long", "address", "address"],
  capset: ["long", "long", "address", "address"],
  pivotRoot: ["long", "long", "bytes", "bytes"],
} as const;

const SYMBOLS = {
  setgroups: "syscall",
  getgroups: "syscall",
  capget: "syscall",
  capset: "syscall",
  pivotRoot: "syscall",
};

/** System call numbers that differ between machines. Linux include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls. */
const NUMBERS = {
  x64: { setgroups: 116, getgroups: 115, capget: 125, capset: 126, pivotRoot: 155 },
  arm64: { setgroups: 159, getgroups: 158, capget: 90, capset: 91, pivotRoot: 41 },
} as const;
export const SYS_THREAD = process.arch === "arm64" ? NUMBERS.arm64 : NUMBERS.x64;

export type CredentialCalls = Native<typeof SIGNATURES>;

let calls: CredentialCalls | null = null;

/** Calls on the credentials of the calling thread, bare. */
export function credentialCalls(): CredentialCalls {
  calls ??= loadLibrary("libc.so.6", SIGNATURES, SYMBOLS);
  return calls;
}

/** Bits of capability sets. Linux include/uapi/linux/capability.h. */
export const Capability = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  FOWNER: 3,
  FSETID: 4,
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  SYS_CHROOT: 18,
  SYS_ADMIN: 21,
  SYS_RESOURCE: 24,
  MKNOD: 27,
  SETFCAP: 31,
} as const;

const PR_CAPBSET_DROP = 24;
/** CAP_CHECKPOINT_RESTORE; beyond it prctl(2) says EINVAL. */
const LAST_CAPABILITY = 40;
/** `_LINUX_CAPABILITY_VERSION_3`. */
const CAPABILITY_VERSION = 0x20080522;
/** Behind it lie two `struct __user_cap_data_struct`, of capabilities 0 to 31 and of the rest: effective, permitted, inheritable. */
const HEADER_BYTES = 8;

/** The capability sets of the calling thread; one object serves one thread. Only capabilities below 32 are looked at. */
export class ThreadCapabilities {
  readonly #memory = Buffer.allocUnsafeSlow(128);
  readonly #address = Number(koffi().address(this.#memory));
  readonly #data = this.#address + HEADER_BYTES;
  readonly #effective: number;

  constructor() {
    this.#memory.fill(0);
    this.#memory.writeUInt32LE(CAPABILITY_VERSION, 0);
    credentialCalls().capget(SYS_THREAD.capget, this.#address, this.#data);
    this.#effective = this.#memory.readUInt32LE(HEADER_BYTES);
  }

  /** Whether the thread had this capability in effect when the object was made. */
  has(capability: number): boolean {
    return ((this.#effective >>> capability) & 1) === 1;
  }

  /** Takes a capability out of effect until `restore`. */
  suspend(capability: number): void {
    this.#memory.writeUInt32LE((this.#effective & ~(1 << capability)) >>> 0, HEADER_BYTES);
    credentialCalls().capset(SYS_THREAD.capset, this.#address, this.#data);
  }

  /**
   * Gives up all capabilities but these, for good: they cannot come back by whatever is executed either.
   * @throws SysError when the kernel refuses
   */
  reduce(kept: readonly number[]): void {
    const { prctl, capset } = credentialCalls();
    const mask = kept.reduce((bits, capability) => bits | (1 << capability), 0) >>> 0;
    if (this.has(Capability.SETPCAP))
      for (let capability = 0; capability <= LAST_CAPABILITY; capability++)
        if (capability >= 32 || ((mask >>> capability) & 1) === 0) prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    // Effective, permitted, inheritable of the lower 32; then of the rest.
    const permitted = (this.#memory.readUInt32LE(HEADER_BYTES + 4) & mask) >>> 0;
    this.#memory.writeUInt32LE(permitted, HEADER_BYTES);
    this.#memory.writeUInt32LE(permitted, HEADER_BYTES + 4);
    this.#memory.fill(0, HEADER_BYTES + 8, HEADER_BYTES + 24);
    check(capset(SYS_THREAD.capset, this.#address, this.#data), "capset");
  }

  restore(): void {
    this.#memory.writeUInt32LE(this.#effective, HEADER_BYTES);
    credentialCalls().capset(SYS_THREAD.capset, this.#address, this.#data);
  }
}
