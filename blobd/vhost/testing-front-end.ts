/** A front-end for tests: both dialects of the back-end channel. Not part of the folder's door. */
import { closeSync } from "node:fs";
import {
  encodeRegion,
  FLAG_NEED_REPLY,
  Header,
  MAX_PAYLOAD_BYTES,
  MemoryTable,
  ProtocolFeature,
  type Region,
  RegionDescription,
  Request,
  U64,
  VERSION,
  VringAddr,
  VringState,
} from "../../formats/vhost-user/index.ts";
import { bit } from "../../formats/virtio/index.ts";
import { allocAligned, POLLIN, PollSet, socketPair, UnixSocket, WOULD_BLOCK } from "../sys/index.ts";
import { FrontEndChannel } from "./testing-channel.ts";
import { type DriverQueue, GuestRam, USER_BASE } from "./testing-guest.ts";

export interface FrontEndOptions {
  /** Protocol features to leave out. */
  readonly without?: readonly number[];
  /** Size of the window, from which the dialect follows too. */
  readonly windowBytes?: number;
  /** Where the guest puts the window. */
  readonly windowAddress?: number;
  readonly eventIdx?: boolean;
}

export interface Reply {
  readonly request: number;
  readonly payload: Buffer;
  readonly fds: number[];
}

/** One connection to a back-end. */
export class FrontEnd {
  readonly socket: UnixSocket;
  readonly ram: GuestRam;
  channel: FrontEndChannel | null = null;
  protocolFeatures = 0n;
  features = 0n;
  readonly #memory = allocAligned(2 * (Header.size + MAX_PAYLOAD_BYTES));

  constructor(fd: number, ram = new GuestRam()) {
    this.socket = new UnixSocket(fd);
    this.ram = ram;
  }

  /** Negotiates as QEMU does, and tells of the memory. */
  async start(options: FrontEndOptions = {}): Promise<void> {
    this.features = U64.view(await this.ask(Request.GET_FEATURES)).value;
    const offered = U64.view(await this.ask(Request.GET_PROTOCOL_FEATURES)).value;
    this.protocolFeatures = offered;
    for (const feature of options.without ?? []) this.protocolFeatures &= ~bit(feature);
    if (options.eventIdx === false) this.features &= ~bit(29);
    this.send(Request.SET_PROTOCOL_FEATURES, u64(this.protocolFeatures));
    this.send(Request.SET_OWNER);
    if (this.has(ProtocolFeature.BACKEND_REQ)) {
      const [ours, theirs] = socketPair();
      this.channel = new FrontEndChannel(ours, this, options.windowBytes ?? 0, options.windowAddress ?? 0x10_0000_0000);
      await this.confirm(Request.SET_BACKEND_REQ_FD, new Uint8Array(0), [theirs]);
      closeSync(theirs);
    }
    await this.confirm(Request.SET_FEATURES, u64(this.features));
    await this.tellMemory();
  }

  has(feature: number): boolean {
    return (this.protocolFeatures & bit(feature)) !== 0n;
  }

  /** SET_MEM_TABLE: guest memory, and what is mapped in the window as far as there is room. */
  async tellMemory(): Promise<void> {
    const regions: (Region & { fd: number })[] = [
      ...this.ram.regions.map((region) => ({ ...region, fd: this.ram.fd })),
      ...(this.channel?.mappings() ?? []),
    ].slice(0, 8);
    await this.confirm(
      Request.SET_MEM_TABLE,
      memoryTable(regions),
      regions.map(({ fd }) => fd),
    );
  }

  /** Describes a queue and starts it. */
  async startQueue(index: number, queue: DriverQueue, base = 0): Promise<void> {
    this.send(Request.SET_VRING_NUM, state(index, queue.size));
    this.send(Request.SET_VRING_BASE, state(index, base));
    const payload = new Uint8Array(VringAddr.size);
    const view = VringAddr.view(payload);
    view.index = index;
    view.descriptor = USER_BASE + queue.desc;
    view.available = USER_BASE + queue.avail;
    view.used = USER_BASE + queue.used;
    this.send(Request.SET_VRING_ADDR, payload);
    this.send(Request.SET_VRING_KICK, u64(BigInt(index)), [queue.kickFd]);
    this.send(Request.SET_VRING_CALL, u64(BigInt(index)), [queue.callFd]);
    await this.confirm(Request.SET_VRING_ENABLE, state(index, 1));
  }

  /** GET_VRING_BASE. */
  async stopQueue(index: number): Promise<number> {
    return VringState.view(await this.ask(Request.GET_VRING_BASE, state(index, 0))).num;
  }

  /** Sends a message that has no reply. */
  send(request: number, payload: Uint8Array = new Uint8Array(0), fds: readonly number[] = [], flags = VERSION): void {
    const { bytes, address } = this.#memory;
    const header = Header.view(bytes);
    header.request = request;
    header.flags = flags;
    header.size = payload.length;
    bytes.set(payload, Header.size);
    this.sendRaw(address, Header.size + payload.length, fds);
  }

  sendRaw(address: number, length: number, fds: readonly number[] = []): void {
    const sent = this.socket.send(address, length, fds);
    if (sent !== length) throw new Error(`the back-end is gone (${sent})`);
  }

  /** Sends a message and waits until it was carried out. @throws Error when it was refused */
  async confirm(request: number, payload?: Uint8Array, fds?: readonly number[]): Promise<void> {
    if (!this.has(ProtocolFeature.REPLY_ACK)) {
      this.send(request, payload, fds);
      // Answered in order.
      await this.ask(Request.GET_FEATURES);
      return;
    }
    this.send(request, payload, fds, VERSION | FLAG_NEED_REPLY);
    const { value } = U64.view((await this.reply()).payload);
    if (value !== 0n) throw new Error(`request ${request} was refused: ${value}`);
  }

  /** Sends a message that has a reply of its own. */
  async ask(request: number, payload?: Uint8Array, fds?: readonly number[]): Promise<Buffer> {
    this.send(request, payload, fds);
    const reply = await this.reply();
    if (reply.request !== request) throw new Error(`asked ${request}, was answered ${reply.request}`);
    for (const fd of reply.fds) closeSync(fd);
    return reply.payload;
  }

  /** The next reply. @throws Error when the back-end closes or does not answer */
  async reply(timeoutMs = 5000): Promise<Reply> {
    const fds: number[] = [];
    const header = Header.view(await this.#read(Header.size, fds, timeoutMs));
    const payload = await this.#read(header.size, fds, timeoutMs);
    return { request: header.request, payload, fds };
  }

  /** Waits for the back-end to close. @throws Error when it does not */
  async closed(timeoutMs = 5000): Promise<void> {
    for (;;) {
      try {
        await this.#read(1, [], timeoutMs);
      } catch (error) {
        if ((error as Error).message.startsWith("the back-end has closed")) return;
        throw error;
      }
    }
  }

  close(): void {
    this.channel?.close();
    this.socket.close();
  }

  async #read(bytes: number, fds: number[], timeoutMs: number): Promise<Buffer> {
    const read = allocAligned(Math.max(bytes, 1));
    for (let got = 0; got < bytes; ) {
      const result = this.socket.receive(read.address + got, bytes - got, fds);
      if (result > 0) got += result;
      else if (result !== WOULD_BLOCK) throw new Error(`the back-end has closed (${result})`);
      else {
        const poll = new PollSet(1);
        poll.add(this.socket.fd, POLLIN);
        await poll.waitAsync(timeoutMs);
        if (poll.ready(0) === 0) throw new Error("the back-end does not answer");
      }
    }
    return read.bytes.subarray(0, bytes);
  }
}

export function u64(value: bigint): Uint8Array {
  const payload = new Uint8Array(U64.size);
  U64.view(payload).value = value;
  return payload;
}

export function state(index: number, num: number): Uint8Array {
  const payload = new Uint8Array(VringState.size);
  const view = VringState.view(payload);
  view.index = index;
  view.num = num;
  return payload;
}

export function memoryTable(regions: readonly Region[]): Uint8Array {
  const payload = new Uint8Array(MemoryTable.size + regions.length * RegionDescription.size);
  MemoryTable.view(payload).numRegions = regions.length;
  for (const [i, region] of regions.entries())
    encodeRegion(region, payload, MemoryTable.size + i * RegionDescription.size);
  return payload;
}
