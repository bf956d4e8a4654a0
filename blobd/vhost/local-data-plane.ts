import { closeSync } from "node:fs";
import { duplicate, eventFd, replaceDescriptor, signalEvent } from "../sys/index.ts";
import type {
  ChannelDescription,
  DataPlane,
  DataPlaneEvents,
  MemoryRegion,
  QueueStart,
  WindowPlace,
} from "./data-plane.ts";
import type { DeviceDescription, WorkerProgram } from "./device.ts";
import { RegionMappings } from "./region-mappings.ts";
import { WorkerHandle } from "./worker-handle.ts";
import { sharedWord } from "./worker-signal.ts";

/** A queue's worker, and the descriptor by which it notifies the guest: ours, so that it can be exchanged under it. */
interface QueueThread {
  readonly worker: WorkerHandle;
  callFd: number;
}

/** The data plane in this process: one thread per virtqueue, made when the queue is started the first time. */
export class LocalDataPlane implements DataPlane {
  readonly #program: WorkerProgram;
  readonly #threads = new Map<number, QueueThread>();
  readonly #mappings = new RegionMappings();
  #events: DataPlaneEvents | null = null;
  #window: WindowPlace | null = null;
  #channel: ChannelDescription | null = null;
  /** The channel's lock: an eventfd that counts to 1. */
  #lockFd = -1;
  #closed = false;
  readonly #interrupts = sharedWord();

  constructor(device: Pick<DeviceDescription, "worker">) {
    this.#program = device.worker;
  }

  /** Starts the threads of the first queues before the queues are, which saves the time then. */
  prepare(queues: number): void {
    for (let index = 0; index < queues; index++) if (!this.#threads.has(index)) this.#newThread(index);
  }

  listen(events: DataPlaneEvents): void {
    this.#events = events;
  }

  async setMemory(regions: readonly MemoryRegion[]): Promise<void> {
    const gone = this.#mappings.replace(regions);
    const current = this.#mappings.current;
    const passed = [...this.#threads.values()].map(({ worker }) => worker.tell({ kind: "memory", regions: current }));
    // Not awaited: a worker may be in the middle of a request, waiting for the very front-end that waits for us. One that
    // has died uses nothing either.
    void Promise.allSettled(passed).then(() => this.#mappings.release(gone));
  }

  async setWindow(window: WindowPlace | null): Promise<void> {
    this.#window = window;
    this.#all((worker) => worker.tell({ kind: "window", window })).catch((error: Error) =>
      this.#events?.failed(error.message),
    );
  }

  async setChannel(channel: ChannelDescription | null): Promise<void> {
    const oldLock = this.#lockFd;
    this.#channel = channel;
    this.#lockFd = channel === null ? -1 : eventFd(1, true);
    const lockFd = this.#lockFd;
    await this.#all((worker) => worker.tell({ kind: "channel", channel, lockFd }));
    if (oldLock >= 0) closeSync(oldLock);
  }

  async startQueue(start: QueueStart): Promise<void> {
    if (this.#closed) throw new Error("the data plane is closed");
    const thread = this.#threads.get(start.index) ?? this.#newThread(start.index);
    // Without a descriptor of the front-end's, an eventfd that nobody waits for keeps the place.
    const callFd = start.callFd < 0 ? eventFd() : duplicate(start.callFd);
    if (thread.callFd >= 0) closeSync(thread.callFd);
    thread.callFd = callFd;
    await thread.worker.tell({ kind: "start", start: { ...start, callFd } });
  }

  async setCall(index: number, callFd: number): Promise<void> {
    const thread = this.#threads.get(index);
    if (thread === undefined || thread.callFd < 0) return;
    const fd = callFd < 0 ? eventFd() : callFd;
    replaceDescriptor(thread.callFd, fd);
    if (callFd < 0) closeSync(fd);
    // The last notification may have gone to the old one, and nobody may have looked there.
    else signalEvent(callFd);
  }

  async stopQueue(index: number): Promise<number> {
    const thread = this.#threads.get(index);
    if (thread === undefined) throw new Error(`queue ${index} was never started`);
    const stopped = thread.worker.tell({ kind: "stop" });
    this.#wakeAll();
    return await stopped;
  }

  async reset(): Promise<void> {
    await this.#all((worker) => worker.tell({ kind: "reset" }));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#all((worker) => worker.quit());
    for (const { callFd } of this.#threads.values()) if (callFd >= 0) closeSync(callFd);
    this.#threads.clear();
    this.#mappings.release(this.#mappings.replace([]));
    if (this.#lockFd >= 0) closeSync(this.#lockFd);
    this.#lockFd = -1;
  }

  #newThread(index: number): QueueThread {
    const worker = new WorkerHandle(
      index,
      this.#program,
      this.#interrupts,
      (reason) => this.#events?.queueBroken(index, reason),
      (error) => {
        // The next start of the queue makes a new one.
        this.#threads.delete(index);
        if (thread.callFd >= 0) closeSync(thread.callFd);
        this.#events?.failed(`queue ${index}: ${error.message}`);
      },
    );
    const thread = { worker, callFd: -1 };
    this.#threads.set(index, thread);
    // Answered in order, and none can fail that a later command's failure does not tell.
    const quiet = (told: Promise<number>): void => void told.catch(() => {});
    quiet(worker.tell({ kind: "memory", regions: this.#mappings.current }));
    quiet(worker.tell({ kind: "window", window: this.#window }));
    quiet(worker.tell({ kind: "channel", channel: this.#channel, lockFd: this.#lockFd }));
    return thread;
  }

  /** No worker may wait for the front-end while another is told to stop: see WorkerSignal. */
  #wakeAll(): void {
    for (const { worker } of this.#threads.values()) worker.wake();
  }

  async #all(use: (worker: WorkerHandle) => Promise<unknown>): Promise<void> {
    await Promise.all([...this.#threads.values()].map(({ worker }) => use(worker)));
  }
}
