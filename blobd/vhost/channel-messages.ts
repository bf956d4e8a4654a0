import { setU53 } from "../../formats/bytes/index.ts";
import {
  BackendRequest,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  FS_FLAG_READ,
  FS_FLAG_WRITE,
  FsMessage,
  Header,
  ShmemMmap,
  U64,
  VERSION,
} from "../../formats/vhost-user/index.ts";
import { allocAligned, type NativeBuffer } from "../sys/index.ts";

/** Bytes of an answer: a header and a u64. */
export const ANSWER_BYTES = Header.size + U64.size;
const ANSWER_AT = 1024;

/** Messages of the back-end channel, put together in one buffer and taken apart there. */
export class ChannelMessages {
  readonly #memory: NativeBuffer = allocAligned(ANSWER_AT + ANSWER_BYTES);
  readonly #dv: DataView;
  readonly #flags: number;
  /** Bytes of the message that is put together, at `address`. */
  bytes = 0;

  constructor(acknowledged: boolean) {
    const { bytes } = this.#memory;
    this.#dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#flags = VERSION | (acknowledged ? FLAG_NEED_REPLY : 0);
  }

  get address(): number {
    return this.#memory.address;
  }
  get answerAddress(): number {
    return this.#memory.address + ANSWER_AT;
  }

  clear(): void {
    this.bytes = 0;
  }

  shmem(map: boolean, fdOffset: number, shmOffset: number, bytes: number, writable: boolean): void {
    const at = this.#header(map ? BackendRequest.SHMEM_MAP : BackendRequest.SHMEM_UNMAP, ShmemMmap.size);
    setU53(this.#dv, at + ShmemMmap.at.fdOffset, fdOffset);
    setU53(this.#dv, at + ShmemMmap.at.shmOffset, shmOffset);
    setU53(this.#dv, at + ShmemMmap.at.len, bytes);
    setU53(this.#dv, at + ShmemMmap.at.flags, writable ? 1 : 0);
  }

  fs(request: number, fdOffset: number, cacheOffset: number, bytes: number, read: boolean, write: boolean): void {
    const at = this.#header(request, FsMessage.size);
    setU53(this.#dv, at + FsMessage.at.fdOffset, fdOffset);
    setU53(this.#dv, at + FsMessage.at.cacheOffset, cacheOffset);
    setU53(this.#dv, at + FsMessage.at.len, bytes);
    setU53(this.#dv, at + FsMessage.at.flags, (read ? FS_FLAG_READ : 0) | (write ? FS_FLAG_WRITE : 0));
  }

  /** A request that changes nothing and is answered when all before it is done. */
  barrier(): void {
    this.#header(BackendRequest.CONFIG_CHANGE, 0);
  }

  /** The request that the answer is to, whatever it is. */
  get answeredRequest(): number {
    return this.#dv.getUint32(ANSWER_AT + Header.at.request, true);
  }

  /** The answer's value, or NaN when it is no answer to `request`. */
  answer(request: number): number {
    const flags = this.#dv.getUint32(ANSWER_AT + Header.at.flags, true);
    const fits =
      this.#dv.getUint32(ANSWER_AT + Header.at.request, true) === request &&
      this.#dv.getUint32(ANSWER_AT + Header.at.size, true) === U64.size &&
      (flags & FLAG_REPLY) !== 0;
    return fits ? Number(this.#dv.getBigInt64(ANSWER_AT + Header.size, true)) : Number.NaN;
  }

  #header(request: number, size: number): number {
    const at = this.bytes;
    this.#memory.bytes.fill(0, at, at + Header.size + size);
    this.#dv.setUint32(at + Header.at.request, request, true);
    this.#dv.setUint32(at + Header.at.flags, this.#flags, true);
    this.#dv.setUint32(at + Header.at.size, size, true);
    this.bytes = at + Header.size + size;
    return at + Header.size;
  }
}
