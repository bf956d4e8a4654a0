import { closeSync } from "node:fs";
import {
  type ChannelDescription,
  type DataPlane,
  type DataPlaneEvents,
  type MemoryRegion,
  type QueueStart,
  RESUME,
  type WindowPlace,
} from "../../vhost/index.ts";
import { makeDeviceMemory, type VirtiofsOptions } from "../device/index.ts";
import type { GuestFile } from "../queue/index.ts";
import { type Call, encodeQueue } from "./messages.ts";
import { WorkerEnded, type WorkerEvents, WorkerProcess } from "./worker-process.ts";

/** A device whose processes die this often in so many ms is given up: the guest has a request that no process survives. */
const MAX_DEATHS = 5;
const DEATHS_WITHIN_MS = 30_000;

export interface SupervisorOptions {
  readonly device: VirtiofsOptions;
  /** The device's guest memory, open: the caller closes it afterwards. */
  readonly guestFiles: readonly GuestFile[];
  /** Keeps a second process started and waiting, which takes over at once. */
  readonly standby: boolean;
  readonly log: { info(line: string): void; warn(line: string): void };
}

/**
 * A data plane in a process of its own. This process holds all that must not be lost: guest memory, the rings' eventfds, the
 * back-end channel, the device's state. When the other dies, by a crash or by `kill -9`, another one is given all of that
 * and goes on with the queues where they were; the VMM has seen nothing, and the guest a pause.
 */
export class SupervisedDataPlane implements DataPlane {
  readonly #options: SupervisorOptions;
  readonly #memoryFd: number;
  #events: DataPlaneEvents | null = null;
  /** What the front-end has told, to be told again. */
  #regions: readonly MemoryRegion[] = [];
  #window: WindowPlace | null = null;
  #channel: ChannelDescription | null = null;
  readonly #queues = new Map<number, QueueStart>();
  /** The volume's memory, -1 until a process has made it. */
  #volumeFd = -1;
  /** Files that have lost their name, by their handles. */
  readonly #files = new Map<number, number>();
  #worker: WorkerProcess | null = null;
  #standby: WorkerProcess | null = null;
  /** Settled when `#worker` has been told all that is above. */
  #ready: Promise<void>;
  readonly #deaths: number[] = [];
  #isClosed = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#memoryFd = makeDeviceMemory(options.device.windowBytes);
    this.#ready = this.#begin(false);
    // Told by the first call that waits for it.
    this.#ready.catch(() => {});
  }

  /** The process that works now. */
  get workerPid(): number | undefined {
    return this.#worker?.pid;
  }

  /** Settled when the first process serves. @throws Error when it cannot */
  started(): Promise<void> {
    return this.#ready;
  }

  listen(events: DataPlaneEvents): void {
    this.#events = events;
  }

  async setMemory(regions: readonly MemoryRegion[]): Promise<void> {
    this.#regions = regions;
    await this.#call(() => memoryCall(regions));
  }

  async setWindow(window: WindowPlace | null): Promise<void> {
    this.#window = window;
    await this.#call(() => ({ message: { call: "setWindow", window } }));
  }

  async setChannel(channel: ChannelDescription | null): Promise<void> {
    this.#channel = channel;
    await this.#call(() => channelCall(channel));
  }

  async startQueue(start: QueueStart): Promise<void> {
    // If the process dies over this, the next one finds in the ring how far it came.
    let { availIndex } = start;
    await this.#call(() => {
      const call = queueCall({ ...start, availIndex });
      availIndex = RESUME;
      return call;
    });
    this.#queues.set(start.index, start);
  }

  async setCall(index: number, callFd: number): Promise<void> {
    const queue = this.#queues.get(index);
    if (queue !== undefined) this.#queues.set(index, { ...queue, callFd });
    await this.#call(() => ({ message: { call: "setCall", index }, fds: callFd >= 0 ? [callFd] : [] }));
  }

  async stopQueue(index: number): Promise<number> {
    const availIndex = await this.#call(() => ({ message: { call: "stopQueue", index } }));
    this.#queues.delete(index);
    return availIndex ?? 0;
  }

  async reset(): Promise<void> {
    await this.#call(() => ({ message: { call: "reset" } }));
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#standby?.kill();
    try {
      // One that could not start has threads that still wait for what they are to serve, and would not end.
      const serves = await this.#ready.then(
        () => true,
        () => false,
      );
      if (serves) await this.#worker?.call({ call: "close" });
    } catch (error) {
      if (!(error instanceof WorkerEnded)) throw error;
    } finally {
      this.#worker?.kill();
      closeSync(this.#memoryFd);
      if (this.#volumeFd >= 0) closeSync(this.#volumeFd);
      for (const fd of this.#files.values()) closeSync(fd);
      this.#files.clear();
    }
  }

  /** Calls the process; when it dies meanwhile, the next one. */
  async #call(make: () => CallWithFds): Promise<number | null> {
    for (;;) {
      if (this.#isClosed) throw new Error("the data plane is closed");
      try {
        await this.#ready;
        const { message, fds } = make();
        return await this.#worker!.call(message, fds);
      } catch (error) {
        if (!(error instanceof WorkerEnded)) throw error;
      }
    }
  }

  /** Gets a process to serve and tells it all there is. */
  async #begin(takesOver: boolean): Promise<void> {
    const { device, guestFiles, standby, log } = this.#options;
    const began = performance.now();
    const worker = this.#standby ?? this.#spawn(false);
    this.#standby = null;
    this.#worker = worker;
    const hasVolume = this.#volumeFd >= 0;
    const start = {
      start: device,
      takesOver,
      hasVolume,
      guestFiles: guestFiles.map(({ fd, ...file }) => file),
      files: [...this.#files.keys()],
    };
    const fds = [
      this.#memoryFd,
      ...(hasVolume ? [this.#volumeFd] : []),
      ...guestFiles.map(({ fd }) => fd),
      ...this.#files.values(),
    ];
    // All at once: they are done in order.
    const calls = [
      worker.call(start, fds),
      ...[
        memoryCall(this.#regions),
        { message: { call: "setWindow", window: this.#window } as const },
        channelCall(this.#channel),
        ...[...this.#queues.values()].map((queue) => queueCall({ ...queue, availIndex: RESUME })),
      ].map(({ message, fds }: CallWithFds) => worker.call(message, fds)),
    ];
    // The first failure is the one that says why; what comes behind a start that failed may never be answered.
    await Promise.all(calls);
    if (takesOver) log.info(`process ${worker.pid} has taken over after ${Math.round(performance.now() - began)} ms`);
    if (standby && !this.#isClosed) this.#standby = this.#spawn(true);
  }

  #spawn(isStandby: boolean): WorkerProcess {
    const events: WorkerEvents = {
      message: (message, fds) => {
        if ("volume" in message) this.#keepVolume(fds[0]!);
        else if ("log" in message) this.#options.log.warn(message.log);
        else if ("failed" in message) {
          this.#options.log.warn(`process ${worker.pid}: ${message.failed}`);
          worker.kill();
        } else if (worker === this.#worker) this.#events?.queueBroken(message.queueBroken, message.reason);
      },
      ended: (reason) => {
        if (worker === this.#standby) this.#standby = null;
        else if (worker === this.#worker && !this.#isClosed) this.#died(worker, reason);
      },
    };
    const worker = new WorkerProcess(events, this.#files);
    // Its death is told by `ended`, and what it cannot do by the start that follows.
    worker.call({ prepare: this.#options.device, isStandby }).catch(() => {});
    return worker;
  }

  /** The first process makes the volume, once. */
  #keepVolume(fd: number): void {
    // Behind the end nobody would close it.
    if (this.#isClosed) closeSync(fd);
    else this.#volumeFd = fd;
  }

  #died(worker: WorkerProcess, reason: string): void {
    const now = performance.now();
    while (this.#deaths.length > 0 && now - this.#deaths[0]! > DEATHS_WITHIN_MS) this.#deaths.shift();
    this.#deaths.push(now);
    this.#options.log.warn(`process ${worker.pid} has ended (${reason}); another one takes over`);
    if (this.#deaths.length >= MAX_DEATHS) {
      const detail = `${MAX_DEATHS} processes have died in ${Math.round((now - this.#deaths[0]!) / 1000)} s`;
      this.#ready = Promise.reject(new Error(detail));
      this.#ready.catch(() => {});
      this.#events?.failed(detail);
      return;
    }
    this.#ready = this.#begin(true);
    this.#ready.catch((error: Error) => {
      // Its own death is seen to by the next call of this method.
      if (!(error instanceof WorkerEnded)) this.#events?.failed(error.message);
    });
  }
}

interface CallWithFds {
  readonly message: Call;
  readonly fds?: readonly number[];
}

function memoryCall(regions: readonly MemoryRegion[]): CallWithFds {
  return {
    message: { call: "setMemory", regions: regions.map(({ fd, ...region }) => region) },
    fds: regions.map(({ fd }) => fd),
  };
}

function channelCall(channel: ChannelDescription | null): CallWithFds {
  if (channel === null) return { message: { call: "setChannel", channel } };
  const { fd, stateFd, ...rest } = channel;
  return { message: { call: "setChannel", channel: rest }, fds: [fd, stateFd] };
}

function queueCall(start: QueueStart): CallWithFds {
  const { queue, fds } = encodeQueue(start);
  return { message: { call: "startQueue", queue }, fds };
}
