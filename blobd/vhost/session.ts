import { closeSync } from "node:fs";
import {
  CONFIG_MIGRATION,
  ConfigSpace,
  decodeMemoryTable,
  decodeSingleRegion,
  F_PROTOCOL_FEATURES,
  Inflight,
  ProtocolFeature,
  Request,
  U64,
} from "../../formats/vhost-user/index.ts";
import { bit } from "../../formats/virtio/index.ts";
import { memfd, signalEvent } from "../sys/index.ts";
import type { DataPlane, WindowPlace } from "./data-plane.ts";
import type { DeviceDescription } from "./device.ts";
import { closeAll, FrontEndMemory } from "./front-end-memory.ts";
import { type Message, MessageSocket } from "./message-socket.ts";
import { holds } from "./ring.ts";
import { NEEDED_FEATURE, offeredFeatures, offeredProtocolFeatures } from "./session-features.ts";
import { bad, configRange, configReply, inflightSize, shmemReply, small, subset, u64 } from "./session-payloads.ts";
import { SessionRings } from "./session-rings.ts";
import type { WindowState } from "./window-state.ts";

/** What outlives a session. */
export interface SessionContext {
  readonly device: DeviceDescription;
  readonly plane: DataPlane;
  readonly memorySlots: number;
  /** Null when the device has no window. */
  readonly window: { readonly stateFd: number; readonly state: WindowState } | null;
  readonly log: (line: string) => void;
}

/** One front-end's connection, from its first message to its end: the control plane's side of the protocol. */
export class Session {
  readonly #context: SessionContext;
  readonly #socket: MessageSocket;
  readonly #memory: FrontEndMemory;
  readonly #rings: SessionRings;
  #protocolFeatures = 0n;
  #channelFd = -1;
  #failure: Error | null = null;
  /** Ids of the regions that the data plane knows. */
  #toldRegions = "";
  #toldWindow: WindowPlace | null = null;
  /** Descriptor of the reply under way. */
  #replyFd = -1;

  constructor(fd: number, wakeFd: number, context: SessionContext) {
    this.#context = context;
    this.#socket = new MessageSocket(fd, wakeFd);
    this.#memory = new FrontEndMemory(context.device.windowBytes);
    this.#rings = new SessionRings(context.device.maxQueues, this.#memory, context.plane);
  }

  /** Serves until the front-end or `end` ends it. @throws Error when the front-end broke the protocol, or a guest its queue */
  async run(): Promise<void> {
    try {
      for (;;) {
        const message = await this.#socket.receive();
        if (this.#failure !== null) throw this.#failure;
        if (message === null) return;
        await this.#answer(message);
      }
    } finally {
      await this.#close();
    }
  }

  /** Ends it; with an error, `run` throws that. */
  end(error: Error | null = null): void {
    this.#failure ??= error;
    this.#socket.end();
  }

  /** The data plane has given up a queue. */
  queueBroken(index: number, reason: string): void {
    const ring = this.#rings.broken(index);
    if (ring !== undefined && ring.errFd >= 0) signalEvent(ring.errFd);
    this.end(new Error(`queue ${index}: ${reason}`));
  }

  async #answer(message: Message): Promise<void> {
    const acknowledges = message.needsReply && this.#has(ProtocolFeature.REPLY_ACK);
    try {
      const needed = NEEDED_FEATURE[message.request];
      if (needed !== undefined && !this.#has(needed))
        throw new Error(`${message.shape.name} without protocol feature ${needed}`);
      const reply = await this.#handle(message);
      if (reply !== null) this.#socket.reply(message.request, reply, this.#replyFd < 0 ? [] : [this.#replyFd]);
      else if (acknowledges) this.#socket.reply(message.request, u64(0n));
    } catch (error) {
      if (acknowledges) this.#tryReply(message.request);
      throw error;
    } finally {
      closeAll(message.fds);
      if (this.#replyFd >= 0) closeSync(this.#replyFd);
      this.#replyFd = -1;
    }
  }

  /** Tells of a failure, if it can be told. */
  #tryReply(request: number): void {
    try {
      this.#socket.reply(request, u64(1n));
    } catch {
      // The connection ends anyway, for the reason that is being told.
    }
  }

  /** Carries out a request. @returns its own reply, null when it has none */
  async #handle(message: Message): Promise<Uint8Array | null> {
    const { payload, fds } = message;
    const { device, memorySlots } = this.#context;
    switch (message.request) {
      case Request.GET_FEATURES:
        return u64(offeredFeatures(device));
      case Request.SET_FEATURES:
        await this.#setFeatures(U64.view(payload).value);
        return null;
      case Request.GET_PROTOCOL_FEATURES:
        return u64(offeredProtocolFeatures(device, memorySlots));
      case Request.SET_PROTOCOL_FEATURES:
        this.#protocolFeatures = subset(
          U64.view(payload).value,
          offeredProtocolFeatures(device, memorySlots),
          "protocol features",
        );
        return null;
      case Request.SET_OWNER:
      case Request.RESET_OWNER:
        return null;
      case Request.GET_QUEUE_NUM:
        return u64(BigInt(device.maxQueues));
      case Request.SET_MEM_TABLE:
        await this.#setMemoryTable(message);
        return null;
      case Request.GET_MAX_MEM_SLOTS:
        return u64(BigInt(memorySlots));
      case Request.ADD_MEM_REG:
        this.#memory.add(decodeSingleRegion(payload), fds[0] as number, this.#context.window?.state ?? null);
        fds.length = 0;
        await this.#tellMemory([]);
        return null;
      case Request.REM_MEM_REG:
        await this.#tellMemory([this.#memory.remove(decodeSingleRegion(payload))]);
        return null;
      case Request.SET_VRING_NUM:
        this.#rings.setSize(payload);
        return null;
      case Request.SET_VRING_ADDR:
        await this.#rings.setAddresses(payload);
        return null;
      case Request.SET_VRING_BASE:
        this.#rings.setBase(payload);
        return null;
      case Request.GET_VRING_BASE:
        return await this.#rings.getBase(payload);
      case Request.SET_VRING_KICK:
        await this.#rings.setKick(small(payload), fds);
        return null;
      case Request.SET_VRING_CALL:
        await this.#rings.setCall(small(payload), fds);
        return null;
      case Request.SET_VRING_ERR:
        this.#rings.setErr(small(payload), fds);
        return null;
      case Request.SET_VRING_ENABLE:
        await this.#rings.setEnabled(payload);
        return null;
      case Request.SET_BACKEND_REQ_FD:
        await this.#setChannel(fds.pop() as number);
        return null;
      case Request.GET_CONFIG:
        return configReply(payload, device.config);
      case Request.SET_CONFIG:
        return this.#setConfig(message);
      case Request.GET_INFLIGHT_FD:
        return this.#getInflight(payload);
      case Request.SET_INFLIGHT_FD:
        this.#setInflight(payload, fds);
        return null;
      case Request.RESET_DEVICE:
        await this.#resetDevice();
        return null;
      case Request.GET_SHMEM_CONFIG:
        return shmemReply(device.windowBytes);
    }
  }

  #has(feature: number): boolean {
    return (this.#protocolFeatures & bit(feature)) !== 0n;
  }

  async #setFeatures(features: bigint): Promise<void> {
    this.#rings.features = subset(features, offeredFeatures(this.#context.device), "features");
    if ((features & bit(F_PROTOCOL_FEATURES)) === 0n) await this.#rings.enableAll();
  }

  async #setMemoryTable({ payload, fds }: Message): Promise<void> {
    const regions = decodeMemoryTable(payload);
    if (regions.length !== fds.length)
      throw new Error(`SET_MEM_TABLE: ${regions.length} regions, ${fds.length} descriptors`);
    const unused = this.#memory.replace(regions, fds, this.#context.window?.state ?? null);
    fds.length = 0;
    await this.#tellMemory(unused);
  }

  /** Tells the data plane of a changed table, as far as it concerns it. @param unused descriptors to be closed then */
  async #tellMemory(unused: readonly number[]): Promise<void> {
    const { plane } = this.#context;
    const window = this.#memory.window;
    try {
      const ram = this.#memory.ram;
      const ids = ram.map((region) => region.id).join();
      if (ids !== this.#toldRegions) {
        await this.#rings.stopMoved();
        await plane.setMemory(ram);
        this.#toldRegions = ids;
        await this.#rings.runReady();
      }
      if (window !== this.#toldWindow) {
        await plane.setWindow(window);
        this.#toldWindow = window;
      }
    } finally {
      closeAll(unused);
    }
  }

  async #setChannel(fd: number): Promise<void> {
    const { plane, window, device } = this.#context;
    const old = this.#channelFd;
    this.#channelFd = fd;
    const hasShmem = this.#has(ProtocolFeature.SHMEM_MAP);
    if (window !== null && (hasShmem || this.#has(ProtocolFeature.BACKEND_SEND_FD))) {
      await plane.setChannel(null);
      window.state.clear();
      await plane.setChannel({
        fd,
        dialect: hasShmem ? "shmem" : "fs",
        acknowledged: this.#has(ProtocolFeature.REPLY_ACK),
        windowBytes: device.windowBytes,
        stateFd: window.stateFd,
      });
    }
    if (old >= 0) closeSync(old);
  }

  /** A guest may write its configuration space as it likes, so that is no reason to end anything. It changes nothing. */
  #setConfig({ payload, needsReply }: Message): Uint8Array | null {
    configRange(payload);
    const isMigration = ConfigSpace.view(payload).flags === CONFIG_MIGRATION;
    return needsReply && this.#has(ProtocolFeature.REPLY_ACK) ? u64(isMigration ? 0n : 1n) : null;
  }

  #getInflight(payload: Uint8Array): Uint8Array {
    const { queues, bytes } = inflightSize(payload, this.#context.device);
    this.#replyFd = memfd("inflight", queues * bytes);
    const reply = new Uint8Array(payload);
    const view = Inflight.view(reply);
    view.mmapSize = queues * bytes;
    view.mmapOffset = 0;
    return reply;
  }

  #setInflight(payload: Uint8Array, fds: number[]): void {
    const { queues, bytes } = inflightSize(payload, this.#context.device);
    const { mmapSize, mmapOffset, queueSize } = Inflight.view(payload);
    const [fd] = fds as [number];
    if (this.#rings.isAnyRunning) throw new Error("SET_INFLIGHT_FD while a queue runs");
    if (mmapSize < queues * bytes || mmapOffset % 64 !== 0 || !holds(fd, mmapOffset, queues * bytes))
      throw bad("vhost_user_inflight.mmap_size", 0, `${queues} queues take ${queues * bytes} bytes, found ${mmapSize}`);
    if (this.#rings.inflight !== null) closeSync(this.#rings.inflight.fd);
    this.#rings.inflight = { fd, offset: mmapOffset, queues, queueSize };
    fds.length = 0;
  }

  async #resetDevice(): Promise<void> {
    await this.#rings.reset();
    this.#context.window?.state.forgetMappings();
    await this.#context.plane.reset();
  }

  /** Gives everything back, whatever state it is in. */
  async #close(): Promise<void> {
    const { plane, window, log } = this.#context;
    try {
      await this.#rings.reset();
      await plane.reset();
      await plane.setChannel(null);
      await plane.setWindow(null);
      await plane.setMemory([]);
    } catch (error) {
      log(`${this.#context.device.name}: when the connection ended: ${(error as Error).message}`);
    }
    window?.state.clear();
    this.#rings.close();
    closeAll(this.#memory.clear());
    if (this.#rings.inflight !== null) closeSync(this.#rings.inflight.fd);
    if (this.#channelFd >= 0) closeSync(this.#channelFd);
    this.#socket.close();
  }
}
