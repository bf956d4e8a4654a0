import { closeSync, fstatSync } from "node:fs";
import { queueRegionBytes } from "../../formats/vhost-user/index.ts";
import { memfd } from "../sys/index.ts";
import type { QueueStart } from "./data-plane.ts";

/** The in-flight region that a front-end keeps for us. */
export interface InflightArea {
  readonly fd: number;
  readonly offset: number;
  readonly queues: number;
  readonly queueSize: number;
}

/** A virtqueue as the front-end has described it so far. */
export class Ring {
  readonly index: number;
  size = 0;
  /** The front-end's addresses; null until it has told them. */
  addresses: { descriptor: number; used: number; available: number } | null = null;
  base = 0;
  kickFd = -1;
  callFd = -1;
  errFd = -1;
  /** SET_VRING_KICK came and no GET_VRING_BASE since. */
  isStarted = false;
  isEnabled = false;
  /** The data plane serves it. */
  isRunning = false;
  /** What is in flight when the front-end keeps no region: ours lasts as long as this object. */
  #own: { fd: number; size: number } | null = null;

  constructor(index: number) {
    this.index = index;
  }

  /** Whether the front-end has told all that it takes. */
  get isReady(): boolean {
    return this.isStarted && this.isEnabled && this.addresses !== null && this.size > 0;
  }

  /** This queue's part of the in-flight region. @param area the front-end's, if it has one for this queue */
  inflight(area: InflightArea | null): QueueStart["inflight"] {
    const bytes = queueRegionBytes(this.size);
    if (area !== null && this.index < area.queues && area.queueSize === this.size)
      return { fd: area.fd, offset: area.offset + this.index * bytes, bytes };
    if (this.#own === null || this.#own.size !== this.size) {
      if (this.#own !== null) closeSync(this.#own.fd);
      this.#own = { fd: memfd("inflight", bytes), size: this.size };
    }
    return { fd: this.#own.fd, offset: 0, bytes };
  }

  setKick(fd: number): void {
    this.kickFd = replaced(this.kickFd, fd);
  }
  setCall(fd: number): void {
    this.callFd = replaced(this.callFd, fd);
  }
  setErr(fd: number): void {
    this.errFd = replaced(this.errFd, fd);
  }

  close(): void {
    this.setKick(-1);
    this.setCall(-1);
    this.setErr(-1);
    if (this.#own !== null) closeSync(this.#own.fd);
    this.#own = null;
  }
}

function replaced(old: number, fd: number): number {
  if (old >= 0) closeSync(old);
  return fd;
}

/** Whether a file has `bytes` at `offset`. */
export function holds(fd: number, offset: number, bytes: number): boolean {
  return fstatSync(fd).size >= offset + bytes;
}
