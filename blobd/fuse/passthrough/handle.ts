import { allocAligned, type NativeBuffer } from "../../sys/index.ts";
import { HANDLE_BYTES } from "./state.ts";

/** MAX_HANDLE_SZ, Linux include/uapi/linux/fcntl.h. */
const MAX_HANDLE_BYTES = 128;
/** Types beyond this do not fit into a node; the kernel's fit (enum fid_type, include/linux/exportfs.h). */
const MAX_TYPE = 0xff;

/** A thread's `struct file_handle`: handle_bytes, handle_type, and the handle itself. */
export class HandleScratch {
  readonly #memory: NativeBuffer = allocAligned(256);
  readonly address: number = this.#memory.address;
  /** Where name_to_handle_at(2) puts the mount's ID. */
  readonly mountId: number = this.#memory.address + 8 + MAX_HANDLE_BYTES;
  readonly #words = new Int32Array(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset, 64);

  /** Bytes of the handle in it. */
  get bytes(): number {
    return this.#words[0]!;
  }
  get type(): number {
    return this.#words[1]!;
  }
  /** Makes room for the kernel to put one. */
  clear(): void {
    this.#words.fill(0, 2, 2 + HANDLE_BYTES / 4);
    this.#words[0] = MAX_HANDLE_BYTES;
  }
  /** Whether what the kernel has put fits into a node. */
  get fits(): boolean {
    return this.#words[0]! <= HANDLE_BYTES && this.#words[1]! >= 0 && this.#words[1]! <= MAX_TYPE;
  }
  /**
   * Whether it is the handle of an inode of this number, as far as it shows: file systems put the number into it in one
   * form or another. A handle and attributes that were asked for one after the other may be of two files.
   */
  names(inoLow: number): boolean {
    const words = this.#words;
    return words[2] === inoLow || words[3] === inoLow || words[4] === inoLow;
  }
  equals(words: Int32Array, at: number, bytes: number, type: number): boolean {
    const own = this.#words;
    if (own[0] !== bytes || own[1] !== type) return false;
    for (let i = 0; i < HANDLE_BYTES / 4; i++) if (own[2 + i] !== words[at + i]) return false;
    return true;
  }
  save(words: Int32Array, at: number): void {
    for (let i = 0; i < HANDLE_BYTES / 4; i++) words[at + i] = this.#words[2 + i]!;
  }
  load(words: Int32Array, at: number, bytes: number, type: number): void {
    this.#words[0] = bytes;
    this.#words[1] = type;
    for (let i = 0; i < HANDLE_BYTES / 4; i++) this.#words[2 + i] = words[at + i]!;
  }
}
