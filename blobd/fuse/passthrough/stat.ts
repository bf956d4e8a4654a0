import { allocAligned, type NativeBuffer } from "../../sys/index.ts";
import { STATX_ATTR_MOUNT_ROOT, Statx } from "./linux.ts";

/** A thread's `struct statx`. */
export class StatScratch {
  readonly #memory: NativeBuffer = allocAligned(Statx.bytes);
  readonly address: number = this.#memory.address;
  readonly dv = new DataView(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset, Statx.bytes);

  get mode(): number {
    return this.dv.getUint16(Statx.mode, true);
  }
  get nlink(): number {
    return this.dv.getUint32(Statx.nlink, true);
  }
  get inoLow(): number {
    return this.dv.getInt32(Statx.ino, true);
  }
  get inoHigh(): number {
    return this.dv.getInt32(Statx.ino + 4, true);
  }
  /** In bytes. Files of 2^53 bytes and more there are none. */
  get size(): number {
    return this.dv.getUint32(Statx.size + 4, true) * 0x1_0000_0000 + this.dv.getUint32(Statx.size, true);
  }
  get isMountRoot(): boolean {
    return (this.dv.getUint32(Statx.attributes, true) & STATX_ATTR_MOUNT_ROOT) !== 0;
  }
}

/** A thread's two `struct timespec`, for utimensat(2). */
export class TimesScratch {
  readonly #memory: NativeBuffer = allocAligned(32);
  readonly address: number = this.#memory.address;
  readonly dv = new DataView(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset, 32);
}
