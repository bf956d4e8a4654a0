import { setU53 } from "../../formats/bytes/index.ts";
import { Dirent, direntBytes, direntplusBytes, EntryOut, ReadIn } from "../../formats/fuse/index.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "./request.ts";

/**
 * Writes directory entries into the reply of READDIR or READDIRPLUS. Made once a thread, started anew for each request.
 *
 * ```
 *  READDIR      Dirent │ name │ padding to 8
 *  READDIRPLUS  EntryOut │ Dirent │ name │ padding to 8       EntryOut all zero: an entry that was not looked up
 * ```
 * An entry's `off` is a cookie of 64 bits: where to go on behind it. File systems use all of them (ext4's is a hash), so it
 * is handed through as two halves.
 */
export class DirentWriter {
  #request: FuseRequest | null = null;
  #plus = false;
  #limit = 0;

  /** Begins the reply: at most as long as the request's `size`, and as what the asker takes. */
  start(request: FuseRequest, plus: boolean): void {
    this.#request = request;
    this.#plus = plus;
    this.#limit = Math.min(request.in.getUint32(IN_ARGS + ReadIn.at.size, true), request.outputLimit);
    request.outputBytes = 0;
  }

  /** Whether an entry with a name of that length still fits. */
  fits(nameBytes: number): boolean {
    const bytes = this.#plus ? direntplusBytes(nameBytes) : direntBytes(nameBytes);
    return this.#request!.outputBytes + bytes <= this.#limit;
  }

  /**
   * Appends an entry for which `fits` was true.
   * @param type DT_* of `struct linux_dirent64`.
   * @param names where its name lies, at `nameAt`.
   * @returns with READDIRPLUS, where in `output` its EntryOut lies, zeroed: for the caller to fill in.
   */
  add(
    ino: number,
    offLow: number,
    offHigh: number,
    type: number,
    names: Uint8Array,
    nameAt: number,
    nameBytes: number,
  ): number {
    const request = this.#request!;
    const { out } = request;
    const start = OUT_ARGS + request.outputBytes;
    let at = start;
    if (this.#plus) {
      for (; at < start + EntryOut.size; at += 4) out.setUint32(at, 0, true);
    }
    setU53(out, at + Dirent.at.ino, ino);
    out.setUint32(at + Dirent.at.off, offLow, true);
    out.setUint32(at + Dirent.at.off + 4, offHigh, true);
    out.setUint32(at + Dirent.at.namelen, nameBytes, true);
    out.setUint32(at + Dirent.at.type, type, true);
    const { bytes } = request.output;
    const nameStart = at + Dirent.size;
    for (let i = 0; i < nameBytes; i++) bytes[nameStart + i] = names[nameAt + i]!;
    const end = at + direntBytes(nameBytes);
    for (let i = nameStart + nameBytes; i < end; i++) bytes[i] = 0;
    request.outputBytes = end - OUT_ARGS;
    return start;
  }
}
