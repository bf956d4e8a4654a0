import { POLLIN, PollSet, signalEvent, takeEvent } from "../sys/index.ts";
import { BackendChannel, NO_WINDOW } from "./backend-channel.ts";
import { Chain } from "./chain.ts";
import type { QueueStart } from "./data-plane.ts";
import { GuestMemory } from "./guest-memory.ts";
import { type HandlerFactory, PUT_BACK, type QueueHandler, type QueueWorker, type Remapper } from "./queue-handler.ts";
import { Virtqueue } from "./virtqueue.ts";
import { type CommandPort, interrupts, type WorkerCommand, type WorkerStart } from "./worker-commands.ts";
import { WorkerSignal } from "./worker-signal.ts";

/** How often a ring without a kick descriptor is looked at, and whether others have stopped, in ms. */
const LOOK_MS = 1;
/** Requests between two looks at the clock while something is parked and the queue never empty. */
const CLOCK_EVERY = 32;
/** Descriptors that a handler may watch. */
const MAX_WATCHED = 16;

// Places in the poll set; watched descriptors follow.
const SIGNAL = 0;
const KICK = 1;
const WATCHED = 2;

/** A worker's loop: commands first, then requests, then sleep until there is either. */
export class QueueRunner implements QueueWorker {
  readonly queue: number;
  readonly data: unknown;
  readonly #port: CommandPort;
  readonly #signal: WorkerSignal;
  readonly #handler: QueueHandler;
  readonly #memory = new GuestMemory();
  readonly #chain = new Chain();
  readonly #reopened = new Chain();
  readonly #poll = new PollSet(WATCHED + MAX_WATCHED);
  readonly #watched: { fd: number; ready: () => void }[] = [];
  #channel: BackendChannel | null = null;
  #virtqueue: Virtqueue | null = null;
  #kickFd = -1;
  #callFd = -1;
  #hasServed = false;
  /** A kick is to be taken out of its eventfd: before the next sleep, so that the guest has its answer first. */
  #isKicked = false;
  /** Where a queue that stopped by itself would go on. */
  #stoppedAt = 0;
  /** Commands obeyed so far. */
  #seen = 0;
  /** When the handler wants to be called, by performance.now(); Infinity for not before the queue is empty. */
  #deadline = Number.POSITIVE_INFINITY;
  #untilClock = CLOCK_EVERY;
  readonly #isAsked = () => this.#signal.commands !== this.#seen;

  constructor(start: WorkerStart, port: CommandPort, factory: HandlerFactory) {
    this.queue = start.queue;
    this.data = start.data;
    this.#port = port;
    this.#signal = new WorkerSignal(start.signalFd, start.posted, start.interrupts);
    this.#poll.add(start.signalFd, POLLIN);
    this.#poll.add(-1, POLLIN);
    this.#handler = factory(this);
  }

  get mapper(): Remapper {
    return this.#channel ?? NO_WINDOW;
  }

  reopen(head: number): Chain {
    this.#taken(head).read(head, this.#reopened);
    return this.#reopened;
  }

  complete(head: number, bytes: number): void {
    if (this.#taken(head).push(head, bytes)) this.#notify();
  }

  watch(fd: number, ready: (() => void) | null): void {
    const at = this.#watched.findIndex((watched) => watched.fd === fd);
    if (at >= 0) this.#watched.splice(at, 1);
    if (ready !== null) this.#watched.push({ fd, ready });
    this.#poll.truncate(WATCHED);
    for (const watched of this.#watched) this.#poll.add(watched.fd, POLLIN);
  }

  /** Runs until the command to quit. */
  run(): void {
    for (;;) {
      if (this.#signal.commands !== this.#seen && this.#obeyAll()) return;
      const virtqueue = this.#virtqueue;
      try {
        if (virtqueue !== null && this.#serve(virtqueue)) continue;
        this.#sleep();
      } catch (error) {
        if (this.#virtqueue === null) throw error;
        this.#break(error);
      }
    }
  }

  /** Carries out one request. @returns false when there is none */
  #serve(virtqueue: Virtqueue): boolean {
    const chain = this.#chain;
    if (!virtqueue.pop(chain)) return false;
    const result = this.#handler.handle(chain);
    if (result >= 0) {
      if (virtqueue.push(chain.head, result)) this.#notify();
    } else if (result === PUT_BACK) {
      virtqueue.putBack(chain);
      this.#awaitStop();
    }
    if (this.#deadline !== Number.POSITIVE_INFINITY && --this.#untilClock <= 0) this.#lookAtClock();
    return true;
  }

  /** A request was put back since some queue is being stopped: this one is stopped too, or may go on when that is done. */
  #awaitStop(): void {
    if (this.#signal.commands !== this.#seen) return;
    this.#poll.wait(LOOK_MS);
    if (this.#poll.ready(SIGNAL) !== 0) takeEvent(this.#signal.fd);
  }

  #lookAtClock(): void {
    this.#untilClock = CLOCK_EVERY;
    if (performance.now() >= this.#deadline) this.#idle();
  }

  /** @returns in how many ms the handler wants to be called again, -1 for not at all */
  #idle(): number {
    const ms = this.#handler.idle === undefined ? -1 : this.#handler.idle();
    this.#deadline = ms < 0 ? Number.POSITIVE_INFINITY : performance.now() + ms;
    return ms;
  }

  /** Waits for a command, a kick, a watched descriptor or the handler's time. */
  #sleep(): void {
    const virtqueue = this.#virtqueue;
    let timeoutMs = -1;
    if (virtqueue === null) {
      if (!this.#hasServed) this.#handler.prepare?.(this.#isAsked);
    } else {
      if (this.#isKicked) {
        takeEvent(this.#kickFd);
        this.#isKicked = false;
      }
      timeoutMs = this.#idle();
      if (!virtqueue.enableKicks()) {
        virtqueue.disableKicks();
        return;
      }
      if (this.#kickFd < 0) timeoutMs = timeoutMs < 0 ? LOOK_MS : Math.min(timeoutMs, LOOK_MS);
    }
    if (this.#signal.commands !== this.#seen) return;
    this.#poll.wait(timeoutMs);
    if (this.#poll.ready(SIGNAL) !== 0) takeEvent(this.#signal.fd);
    for (let i = 0; i < this.#watched.length; i++) if (this.#poll.ready(WATCHED + i) !== 0) this.#watched[i]?.ready();
    if (virtqueue === null) return;
    const kicked = this.#poll.ready(KICK);
    if ((kicked & POLLIN) !== 0) this.#isKicked = true;
    else if (kicked !== 0) throw new Error(`its kick descriptor cannot be waited for (poll: ${kicked})`);
    virtqueue.disableKicks();
  }

  #notify(): void {
    if (this.#callFd >= 0) signalEvent(this.#callFd);
  }

  #taken(head: number): Virtqueue {
    if (this.#virtqueue?.isTaken(head) !== true) throw new Error(`request ${head} is not parked`);
    return this.#virtqueue;
  }

  /** Obeys all commands that have been posted. @returns true to quit */
  #obeyAll(): boolean {
    this.#seen = this.#signal.commands;
    for (;;) {
      const command = this.#port.receive();
      if (command === undefined) return false;
      try {
        this.#port.report({ id: command.id, value: this.#obey(command) });
      } catch (error) {
        this.#port.report({ id: command.id, error: text(error) });
      } finally {
        if (interrupts(command.kind)) Atomics.sub(this.#signal.interrupts, 0, 1);
      }
      if (command.kind === "quit") return true;
    }
  }

  #obey(command: WorkerCommand): number {
    switch (command.kind) {
      case "memory":
        this.#memory.setRegions(command.regions);
        return 0;
      case "window":
        this.#memory.setWindow(command.window);
        return 0;
      case "channel":
        this.#channel?.close();
        this.#channel =
          command.channel === null ? null : new BackendChannel(command.channel, command.lockFd, this.#signal);
        return 0;
      case "start":
        this.#start(command.start);
        return 0;
      case "stop":
        return this.#stop();
      case "reset":
        this.#handler.reset?.();
        return 0;
      case "quit":
        this.#stop();
        this.#channel?.close();
        this.#handler.close?.();
        return 0;
    }
  }

  #start(start: QueueStart): void {
    this.#stop();
    this.#hasServed = true;
    this.#virtqueue = new Virtqueue(start, this.#memory);
    this.#virtqueue.disableKicks();
    this.#kickFd = start.kickFd;
    this.#callFd = start.callFd;
    this.#poll.set(KICK, start.kickFd, POLLIN);
    this.#deadline = Number.POSITIVE_INFINITY;
    // A predecessor may have completed requests without telling the driver. One notification too many does no harm.
    this.#notify();
  }

  #stop(): number {
    const virtqueue = this.#virtqueue;
    if (virtqueue === null) return this.#stoppedAt;
    this.#virtqueue = null;
    this.#isKicked = false;
    this.#stoppedAt = virtqueue.availIndex;
    this.#poll.set(KICK, -1, POLLIN);
    this.#handler.stopped?.();
    virtqueue.close();
    return this.#stoppedAt;
  }

  #break(error: unknown): void {
    this.#stop();
    this.#port.report({ broken: text(error) });
  }
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
