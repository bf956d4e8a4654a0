import { errno, fileCalls } from "./file-calls.ts";
import { loadLibrary, type Native } from "./koffi.ts";
import { allocAligned } from "./memory.ts";

/** System call numbers, the same on all machines: Linux 6.13. */
const SYS = { setxattrat: 463, getxattrat: 464, listxattrat: 465, removexattrat: 466 } as const;
const SIGNATURES = {
  withValue: ["long", "long", "int", "address", "u32", "address", "address", "size"],
  list: ["long", "long", "int", "address", "u32", "address", "size"],
  remove: ["long", "long", "int", "address", "u32", "address"],
} as const;
const SYMBOLS = { withValue: "syscall", list: "syscall", remove: "syscall" };
const EBADF = 9;
/** `struct xattr_args`: value's address, size, flags. Linux include/uapi/linux/xattr.h. */
const ARGS_BYTES = 16;

/** How descriptors are named. */
export interface DescriptorNames {
  /** A descriptor of /proc/self/fd. */
  readonly fd: number;
  /** Address of a descriptor's name in there, as a C string. */
  name(fd: number): number;
  /** Address of its whole path. */
  path(fd: number): number;
}

/**
 * Extended attributes of what a descriptor is of, be it a symlink or a device: fgetxattr(2) and its like take no O_PATH
 * descriptor, so the file is reached by the descriptor's entry in /proc/self/fd, which leads to the file itself. Linux 6.13
 * has calls that start from an open directory; before, /proc must be visible to the thread.
 *
 * Names, values and results are as getxattr(2)'s, a negative result leaves the reason in errno. One object serves one
 * thread.
 */
export class XattrAt {
  readonly #calls: Native<typeof SIGNATURES> = loadLibrary("libc.so.6", SIGNATURES, SYMBOLS);
  readonly #memory = allocAligned(ARGS_BYTES);
  readonly #args = this.#memory.address;
  readonly #dv = new DataView(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset, ARGS_BYTES);
  readonly #names: DescriptorNames;
  readonly #hasCalls: boolean;

  constructor(names: DescriptorNames) {
    this.#names = names;
    this.#hasCalls = this.#calls.list(SYS.listxattrat, -1, names.name(0), 0, 0, 0) < 0 && errno() === EBADF;
  }

  get(fd: number, name: number, value: number, bytes: number): number {
    if (!this.#hasCalls) return fileCalls().getxattr(this.#names.path(fd), name, value, bytes);
    return this.#withValue(SYS.getxattrat, fd, name, value, bytes, 0);
  }
  set(fd: number, name: number, value: number, bytes: number, flags: number): number {
    if (!this.#hasCalls) return fileCalls().setxattr(this.#names.path(fd), name, value, bytes, flags);
    return this.#withValue(SYS.setxattrat, fd, name, value, bytes, flags);
  }
  list(fd: number, names: number, bytes: number): number {
    if (!this.#hasCalls) return fileCalls().listxattr(this.#names.path(fd), names, bytes);
    return this.#calls.list(SYS.listxattrat, this.#names.fd, this.#names.name(fd), 0, names, bytes);
  }
  remove(fd: number, name: number): number {
    if (!this.#hasCalls) return fileCalls().removexattr(this.#names.path(fd), name);
    return this.#calls.remove(SYS.removexattrat, this.#names.fd, this.#names.name(fd), 0, name);
  }

  #withValue(call: number, fd: number, name: number, value: number, bytes: number, flags: number): number {
    this.#dv.setUint32(0, value >>> 0, true);
    this.#dv.setUint32(4, Math.floor(value / 0x1_0000_0000), true);
    this.#dv.setUint32(8, bytes, true);
    this.#dv.setUint32(12, flags, true);
    return this.#calls.withValue(call, this.#names.fd, this.#names.name(fd), 0, name, this.#args, ARGS_BYTES);
  }
}
