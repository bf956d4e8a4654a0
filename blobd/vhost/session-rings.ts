import { FormatError } from "../../formats/bytes/index.ts";
import { VRING_INDEX_MASK, VRING_NO_FD, VringAddr, VringState } from "../../formats/vhost-user/index.ts";
import { bit, Feature, isQueueSize } from "../../formats/virtio/index.ts";
import { isEventFd, setNonBlocking } from "../sys/index.ts";
import { type DataPlane, RESUME } from "./data-plane.ts";
import type { FrontEndMemory } from "./front-end-memory.ts";
import { type InflightArea, Ring } from "./ring.ts";

type Parts = readonly [descriptor: number, available: number, used: number];

/** The virtqueues of a session: described message by message, run as soon as a description is complete. */
export class SessionRings {
  readonly #rings: Ring[] = [];
  readonly #maxQueues: number;
  readonly #memory: FrontEndMemory;
  readonly #plane: DataPlane;
  /** Where the parts of a running ring were found, by region and guest address: it stops before they go. */
  readonly #placed = new Map<Ring, string>();
  features = 0n;
  inflight: InflightArea | null = null;

  constructor(maxQueues: number, memory: FrontEndMemory, plane: DataPlane) {
    this.#maxQueues = maxQueues;
    this.#memory = memory;
    this.#plane = plane;
  }

  get isAnyRunning(): boolean {
    return this.#rings.some((ring) => ring?.isRunning);
  }

  setSize(payload: Uint8Array): void {
    const { ring, num } = this.#state(payload);
    if (!isQueueSize(num))
      throw bad("vhost_vring_state.num", 4, `found a queue size of ${num}, expected a power of two`);
    if (ring.isRunning && ring.size !== num) throw new Error(`queue ${ring.index}: its size is set while it runs`);
    ring.size = num;
  }

  async setAddresses(payload: Uint8Array): Promise<void> {
    const { index, descriptor, used, available } = VringAddr.view(payload);
    const ring = this.#ring(index);
    const old = ring.addresses;
    const isSame = old?.descriptor === descriptor && old.used === used && old.available === available;
    if (isSame) return;
    await this.#stop(ring);
    ring.addresses = { descriptor, used, available };
    await this.#runIfReady(ring);
  }

  setBase(payload: Uint8Array): void {
    const { ring, num } = this.#state(payload);
    if (num > 0xffff) throw bad("vhost_vring_state.num", 4, `found index ${num}, expected at most 65535`);
    if (ring.isRunning) throw new Error(`queue ${ring.index}: its base is set while it runs`);
    ring.base = num;
  }

  /** GET_VRING_BASE: stops the queue. @returns the reply */
  async getBase(payload: Uint8Array): Promise<Uint8Array> {
    const { ring } = this.#state(payload);
    await this.#stop(ring);
    ring.isStarted = false;
    ring.setKick(-1);
    const reply = new Uint8Array(VringState.size);
    const view = VringState.view(reply);
    view.index = ring.index;
    view.num = ring.base;
    return reply;
  }

  async setKick(value: number, fds: number[]): Promise<void> {
    const { ring, fd } = this.#eventOf(value, fds);
    await this.#stop(ring);
    ring.setKick(fd);
    ring.isStarted = true;
    await this.#runIfReady(ring);
  }

  async setCall(value: number, fds: number[]): Promise<void> {
    const { ring, fd } = this.#eventOf(value, fds);
    if (ring.isRunning) await this.#plane.setCall(ring.index, fd);
    ring.setCall(fd);
  }

  setErr(value: number, fds: number[]): void {
    const { ring, fd } = this.#eventOf(value, fds);
    ring.setErr(fd);
  }

  async setEnabled(payload: Uint8Array): Promise<void> {
    const { ring, num } = this.#state(payload);
    if (num > 1) throw bad("vhost_vring_state.num", 4, `found ${num}, expected 0 or 1`);
    ring.isEnabled = num === 1;
    if (ring.isEnabled) await this.#runIfReady(ring);
    else await this.#stop(ring);
  }

  /** A front-end without protocol features does not enable queues one by one. */
  async enableAll(): Promise<void> {
    for (let index = 0; index < this.#maxQueues; index++) {
      const ring = this.#ring(index);
      ring.isEnabled = true;
      await this.#runIfReady(ring);
    }
  }

  /** Stops the queues whose rings do not lie where they lay. To be called when the table has changed, before it is told. */
  async stopMoved(): Promise<void> {
    for (const [ring, place] of [...this.#placed])
      if (this.#placeOf(this.#parts(ring)) !== place) await this.#stop(ring);
  }

  /** Starts what `stopMoved` has stopped, and what has waited for its memory. */
  async runReady(): Promise<void> {
    for (const ring of this.#rings) if (ring !== undefined) await this.#runIfReady(ring);
  }

  /** Stops all queues, as after SET_OWNER. */
  async reset(): Promise<void> {
    for (const ring of this.#rings) {
      if (ring === undefined) continue;
      await this.#stop(ring);
      ring.isStarted = false;
      ring.isEnabled = false;
      ring.base = 0;
    }
  }

  /** A queue has stopped by itself. */
  broken(index: number): Ring | undefined {
    const ring = this.#rings[index];
    if (ring === undefined) return undefined;
    ring.isRunning = false;
    this.#placed.delete(ring);
    return ring;
  }

  /** Gives everything back; the queues have been stopped. */
  close(): void {
    for (const ring of this.#rings) ring?.close();
  }

  async #runIfReady(ring: Ring): Promise<void> {
    if (!ring.isReady || ring.isRunning) return;
    const parts = this.#parts(ring);
    if (parts === null) throw new Error(`queue ${ring.index}: its ring is in no memory region`);
    const [descriptorAddress, availableAddress, usedAddress] = parts;
    const inflight = ring.inflight(this.inflight);
    await this.#plane.startQueue({
      index: ring.index,
      size: ring.size,
      descriptorAddress,
      availableAddress,
      usedAddress,
      // A front-end that keeps the region may have got its base from a back-end that died: the region knows better.
      availIndex: inflight.fd === this.inflight?.fd ? RESUME : ring.base,
      eventIdx: (this.features & bit(Feature.RING_EVENT_IDX)) !== 0n,
      indirect: (this.features & bit(Feature.RING_INDIRECT_DESC)) !== 0n,
      kickFd: ring.kickFd,
      callFd: ring.callFd,
      inflight,
    });
    ring.isRunning = true;
    this.#placed.set(ring, this.#placeOf(parts));
  }

  async #stop(ring: Ring): Promise<void> {
    if (!ring.isRunning) return;
    ring.isRunning = false;
    this.#placed.delete(ring);
    ring.base = await this.#plane.stopQueue(ring.index);
  }

  #parts({ addresses }: Ring): Parts | null {
    if (addresses === null) return null;
    const parts = [addresses.descriptor, addresses.available, addresses.used].map((at) =>
      this.#memory.guestAddress(at),
    );
    return parts.includes(-1) ? null : (parts as unknown as Parts);
  }

  #placeOf(parts: Parts | null): string {
    return parts === null ? "" : parts.map((at) => `${at}@${this.#memory.regionId(at)}`).join();
  }

  #ring(index: number): Ring {
    if (index >= this.#maxQueues)
      throw bad("vring index", 0, `found ${index}, the device has ${this.#maxQueues} queues`);
    let ring = this.#rings[index];
    if (ring === undefined) {
      ring = new Ring(index);
      this.#rings[index] = ring;
    }
    return ring;
  }

  #state(payload: Uint8Array): { ring: Ring; num: number } {
    const { index, num } = VringState.view(payload);
    return { ring: this.#ring(index), num };
  }

  /** The payload and descriptor of SET_VRING_KICK, CALL and ERR. */
  #eventOf(value: number, fds: number[]): { ring: Ring; fd: number } {
    const ring = this.#ring(value & VRING_INDEX_MASK);
    if ((value & ~(VRING_INDEX_MASK | VRING_NO_FD)) !== 0)
      throw bad("vring index", 0, `found 0x${value.toString(16)}, expected an index and bit 8`);
    const expected = (value & VRING_NO_FD) !== 0 ? 0 : 1;
    if (fds.length !== expected)
      throw bad("vring index", 0, `bit 8 says ${expected} descriptors, ${fds.length} came along`);
    const [fd] = fds;
    if (fd === undefined) return { ring, fd: -1 };
    // Anything else could be readable for ever, or block whoever writes it.
    if (!isEventFd(fd)) throw new Error(`queue ${ring.index}: the descriptor is no eventfd`);
    setNonBlocking(fd, true);
    fds.length = 0;
    return { ring, fd };
  }
}

function bad(field: string, at: number, detail: string): FormatError {
  return new FormatError("ERR_BAD_VALUE", field, at, detail);
}
