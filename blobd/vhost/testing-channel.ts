/** The front-end's end of the back-end channel, for tests: maps files into a window of its own. */
import { closeSync, fstatSync, readSync, writeSync } from "node:fs";
import { getU53 } from "../../formats/bytes/index.ts";
import {
  BackendRequest,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  FS_FLAG_READ,
  FsMessage,
  FsRequest,
  Header,
  MAX_PAYLOAD_BYTES,
  ProtocolFeature,
  type Region,
  ShmemMmap,
  VERSION,
} from "../../formats/vhost-user/index.ts";
import { allocAligned, POLLIN, PollSet, UnixSocket, WOULD_BLOCK } from "../sys/index.ts";
import type { FrontEnd } from "./testing-front-end.ts";

interface Mapping {
  readonly fd: number;
  readonly fdOffset: number;
  readonly bytes: number;
  readonly writable: boolean;
}

export class FrontEndChannel {
  readonly #socket: UnixSocket;
  readonly #frontEnd: FrontEnd;
  readonly #windowBytes: number;
  readonly #windowAddress: number;
  readonly #memory = allocAligned(Header.size + MAX_PAYLOAD_BYTES);
  /** What is mapped, by offset. */
  readonly mapped = new Map<number, Mapping>();
  /** Requests answered so far, by their numbers. */
  readonly requests: number[] = [];
  /** Tells of the memory table behind each change, as QEMU does. */
  tellsMemory = true;
  /** Does not answer before this is resolved. */
  gate: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(fd: number, frontEnd: FrontEnd, windowBytes: number, windowAddress: number) {
    this.#socket = new UnixSocket(fd);
    this.#frontEnd = frontEnd;
    this.#windowBytes = windowBytes;
    this.#windowAddress = windowAddress;
  }

  /** What is mapped, as the memory table shows it. */
  mappings(): (Region & { fd: number })[] {
    return [...this.mapped].map(([offset, { fd, fdOffset, bytes }]) => ({
      guestAddress: this.#windowAddress + offset,
      userAddress: 0x7f00_0000_0000 + offset,
      bytes,
      fdOffset,
      fd,
    }));
  }

  /** What the guest reads in the window. */
  read(offset: number, bytes: number): Buffer {
    for (const [start, mapping] of this.mapped) {
      if (offset < start || offset + bytes > start + mapping.bytes) continue;
      const read = Buffer.alloc(bytes);
      readSync(mapping.fd, read, 0, bytes, mapping.fdOffset + offset - start);
      return read;
    }
    throw new Error(`nothing is mapped at ${offset}`);
  }

  /** A reset of the device: all mappings go, and nobody is told. */
  dropAll(): void {
    for (const { fd } of this.mapped.values()) closeSync(fd);
    this.mapped.clear();
  }

  /** Answers requests until it is closed or the other side is. */
  async serve(): Promise<void> {
    try {
      await this.#serve();
    } catch (error) {
      if (!this.#isClosed) throw error; // Closed while it told the back-end of a mapping.
    }
  }

  async #serve(): Promise<void> {
    for (;;) {
      const fds: number[] = [];
      if (!(await this.#read(0, Header.size, fds))) return;
      const { request, flags, size } = Header.view(this.#memory.bytes);
      if (!(await this.#read(Header.size, size, fds))) return;
      await this.gate;
      const answer = await this.#handle(request, fds);
      this.requests.push(request);
      if ((flags & FLAG_NEED_REPLY) !== 0) this.reply(request, answer);
    }
  }

  /** Answers, with anything. */
  reply(request: number, value: number): void {
    const { bytes, address } = this.#memory;
    const header = Header.view(bytes);
    header.request = request;
    header.flags = VERSION | FLAG_REPLY;
    header.size = 8;
    bytes.writeBigInt64LE(BigInt(value), Header.size);
    this.#socket.send(address, Header.size + 8);
  }

  close(): void {
    this.#isClosed = true;
    this.dropAll();
    this.#socket.close();
  }

  async #handle(request: number, fds: number[]): Promise<number> {
    const payload = this.#memory.bytes.subarray(Header.size);
    const dv = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    if (request === BackendRequest.CONFIG_CHANGE) return 0;
    if (this.#frontEnd.has(ProtocolFeature.SHMEM_MAP)) {
      const { fdOffset, shmOffset, len, flags } = ShmemMmap.view(payload);
      if (request === BackendRequest.SHMEM_MAP)
        return await this.#map(shmOffset, { fd: fds[0] as number, fdOffset, bytes: len, writable: flags === 1n });
      if (request === BackendRequest.SHMEM_UNMAP) return await this.#unmap(shmOffset, len);
      return -38;
    }
    const field = (at: number): number => getU53(dv, at, "VhostUserFSSlaveMsg");
    const fdOffset = field(FsMessage.at.fdOffset);
    const offset = field(FsMessage.at.cacheOffset);
    const bytes = field(FsMessage.at.len);
    const flags = field(FsMessage.at.flags);
    if (request === FsRequest.FS_MAP)
      return await this.#map(offset, { fd: fds[0] as number, fdOffset, bytes, writable: (flags & 2) !== 0 });
    if (request === FsRequest.FS_UNMAP) return await this.#unmap(offset, bytes);
    if (request === FsRequest.FS_IO) return this.#transfer(fds[0] as number, fdOffset, offset, bytes, flags);
    return -38;
  }

  async #map(offset: number, mapping: Mapping): Promise<number> {
    if (offset + mapping.bytes > this.#windowBytes) return -22;
    for (const [start, { bytes }] of this.mapped)
      if (start < offset + mapping.bytes && offset < start + bytes) return -17;
    this.mapped.set(offset, mapping);
    if (this.tellsMemory) await this.#frontEnd.tellMemory();
    return 0;
  }

  async #unmap(offset: number, bytes: number): Promise<number> {
    const mapping = this.mapped.get(offset);
    if (mapping?.bytes !== bytes) return -22;
    this.mapped.delete(offset);
    if (this.tellsMemory) await this.#frontEnd.tellMemory();
    closeSync(mapping.fd);
    return 0;
  }

  /** FS_IO between a file and guest memory, or the window. */
  #transfer(fd: number, fdOffset: number, address: number, bytes: number, flags: number): number {
    try {
      const toGuest = (flags & FS_FLAG_READ) !== 0;
      if (fstatSync(fd).size < fdOffset) return 0;
      const inWindow = address - this.#windowAddress;
      const [start, mapping] =
        [...this.mapped].find(([at, m]) => inWindow >= at && inWindow + bytes <= at + m.bytes) ?? [];
      if (start === undefined || mapping === undefined) return -14;
      const buffer = Buffer.alloc(bytes);
      const there = mapping.fdOffset + inWindow - start;
      if (!toGuest) return writeSync(fd, buffer, 0, readSync(mapping.fd, buffer, 0, bytes, there), fdOffset);
      return writeSync(mapping.fd, buffer, 0, readSync(fd, buffer, 0, bytes, fdOffset), there);
    } finally {
      closeSync(fd);
    }
  }

  async #read(at: number, bytes: number, fds: number[]): Promise<boolean> {
    for (let got = 0; got < bytes; ) {
      if (this.#isClosed) return false;
      const result = this.#socket.receive(this.#memory.address + at + got, bytes - got, fds);
      if (result > 0) got += result;
      else if (result !== WOULD_BLOCK) return false;
      else {
        const poll = new PollSet(1);
        poll.add(this.#socket.fd, POLLIN);
        await poll.waitAsync(20);
      }
    }
    return true;
  }
}
