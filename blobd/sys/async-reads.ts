import { struct } from "../../formats/bytes/index.ts";
import { check } from "./errno.ts";
import { koffi } from "./koffi.ts";
import { libc, SYS } from "./libc.ts";
import { allocAligned, type NativeBuffer } from "./memory.ts";

/** `struct iocb` as it is on machines of little endian. Linux include/uapi/linux/aio_abi.h. */
const Iocb = struct("iocb", 64, {
  aioData: "u53",
  aioKey: "u32",
  aioRwFlags: "u32",
  aioLioOpcode: "u16",
  aioReqprio: "u16",
  aioFildes: "u32",
  aioBuf: "u53",
  aioNbytes: "u53",
  aioOffset: "u53",
  aioReserved2: "u64",
  aioFlags: "u32",
  aioResfd: "u32",
});
const IOCB_CMD_PREAD = 0;
/** `struct io_event`: data u64, obj u64, res s64, res2 s64. */
const EVENT_BYTES = 32;
const EVENT_RES = 16;

/**
 * Reads that wait in the kernel while this thread goes on (Linux AIO, io_submit(2)): of descriptors opened with O_DIRECT, on
 * file systems that can, others make `submit` wait. There is no io_destroy(2) here, so the kernel keeps what it has for them until
 * the process ends, and counts their depth against fs.aio-max-nr: for threads that live as long.
 */
export class AsyncReads {
  readonly #context: number;
  readonly #iocb: NativeBuffer;
  readonly #events: NativeBuffer;
  readonly #depth: number;
  #underWay = 0;

  /** @param depth reads under way at most @throws SysError */
  constructor(depth: number) {
    this.#depth = depth;
    this.#events = allocAligned(depth * EVENT_BYTES);
    // The control block, the pointer to it that io_submit takes, and for io_getevents a time of nothing.
    this.#iocb = allocAligned(Iocb.size + 8 + 16);
    this.#iocb.bytes.fill(0);
    const context = allocAligned(8);
    context.bytes.fill(0);
    check(libc().ioSetup(SYS.ioSetup, depth, context.address), "io_setup");
    this.#context = Number(context.bytes.readBigUInt64LE(0));
    this.#iocb.bytes.writeBigUInt64LE(BigInt(this.#iocb.address), Iocb.size);
  }

  /** @param id comes back from `reap` @returns 0, or a negative error number: -EAGAIN when there is no room */
  submit(id: number, fd: number, address: number, bytes: number, position: number): number {
    if (this.#underWay === this.#depth) return -EAGAIN;
    const iocb = Iocb.view(this.#iocb.bytes);
    iocb.aioData = id;
    iocb.aioLioOpcode = IOCB_CMD_PREAD;
    iocb.aioFildes = fd;
    iocb.aioBuf = address;
    iocb.aioNbytes = bytes;
    iocb.aioOffset = position;
    if (libc().ioSubmit(SYS.ioSubmit, this.#context, 1, this.#iocb.address + Iocb.size) < 0) return -koffi().errno();
    this.#underWay++;
    return 0;
  }

  /** Tells of each read that is done: bytes, or a negative error number. Does not wait. */
  reap(done: (id: number, result: number) => void): void {
    if (this.#underWay === 0) return;
    const { address, bytes } = this.#events;
    const now = this.#iocb.address + Iocb.size + 8;
    const count = libc().ioGetevents(SYS.ioGetevents, this.#context, 0, this.#depth, address, now);
    this.#underWay -= Math.max(0, count);
    for (let event = 0; event < count; event++) {
      const at = event * EVENT_BYTES;
      done(Number(bytes.readBigUInt64LE(at)), Number(bytes.readBigInt64LE(at + EVENT_RES)));
    }
  }
}

const EAGAIN = 11;
