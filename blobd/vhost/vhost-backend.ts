import { closeSync, unlinkSync } from "node:fs";
import { MAX_QUEUES } from "../../formats/vhost-user/index.ts";
import {
  acceptUnix,
  connectUnix,
  eventFd,
  listenUnix,
  PAGE_SIZE,
  POLLIN,
  PollSet,
  SysError,
  signalEvent,
  takeEvent,
  WOULD_BLOCK,
} from "../sys/index.ts";
import { atExit } from "./at-exit.ts";
import type { DataPlane } from "./data-plane.ts";
import type { DeviceDescription } from "./device.ts";
import { Session, type SessionContext } from "./session.ts";
import { WindowState, windowStateFd } from "./window-state.ts";

/** Between two attempts to connect, in ms. */
const RETRY_MS = 100;

export interface BackendOptions {
  /** Gets a line for each connection that begins or ends. */
  readonly log?: (line: string) => void;
  /**
   * Memory regions that a front-end may describe one by one (CONFIGURE_MEM_SLOTS, at most MAX_MEMORY_SLOTS); 0 for a table
   * of eight. Wanted for guests with many memory devices. With a window, QEMU 11.1 then describes every mapping too, gets
   * slow with hundreds and aborts at 512.
   */
  readonly memorySlots?: number;
}

/**
 * The control plane: serves one front-end after the other, on a socket that it listens on or connects to. A front-end that
 * breaks the protocol, and a guest that breaks its queue, lose their connection; this goes on.
 */
export class VhostBackend {
  readonly #device: DeviceDescription;
  readonly #context: SessionContext;
  readonly #log: (line: string) => void;
  /** Ends whatever waits: a thread of the pool that sleeps in poll(2) would hold the process up. */
  readonly #wakeFd = eventFd();
  readonly #forgetExit = atExit(() => {
    signalEvent(this.#wakeFd);
  });
  #session: Session | null = null;
  #serving: Promise<void> = Promise.resolve();
  #isClosing = false;

  constructor(device: DeviceDescription, plane: DataPlane, options: BackendOptions = {}) {
    if (device.maxQueues > MAX_QUEUES) throw new RangeError(`${device.maxQueues} queues, at most ${MAX_QUEUES}`);
    if (device.windowBytes % PAGE_SIZE !== 0) throw new RangeError(`a window of ${device.windowBytes} bytes`);
    const stateFd = device.windowBytes > 0 ? windowStateFd() : -1;
    this.#device = device;
    this.#log = options.log ?? (() => {});
    this.#context = {
      device,
      plane,
      memorySlots: options.memorySlots ?? 0,
      window: stateFd < 0 ? null : { stateFd, state: new WindowState(stateFd) },
      log: this.#log,
    };
    plane.listen({
      queueBroken: (index, reason) => this.#session?.queueBroken(index, reason),
      failed: (reason) => this.#session?.end(new Error(`the data plane failed: ${reason}`)),
    });
  }

  /**
   * Serves whoever connects to a socket at `path`, one after the other. A socket that a killed process left there is replaced.
   * @throws SysError when somebody listens there, or something else is there
   */
  listen(path: string): void {
    const fd = listenOrReplace(path);
    this.#serve(async () => {
      try {
        while (!this.#isClosing) {
          const accepted = acceptUnix(fd);
          if (accepted >= 0) await this.#runSession(accepted);
          else if (accepted === WOULD_BLOCK) await this.#readable(fd);
          else throw new Error(`accept: error ${-accepted}`);
        }
      } finally {
        closeSync(fd);
        removeSocket(path);
      }
    });
  }

  /**
   * Serves the front-end that listens at `path`, again and again, waiting for it while it is not there. Not for QEMU 11.1
   * with vhost-user-test-device, which aborts when it is connected to a second time (docs/decisions/0015).
   */
  connect(path: string): void {
    this.#serve(async () => {
      while (!this.#isClosing) {
        const fd = tryConnect(path);
        if (fd >= 0) await this.#runSession(fd);
        if (!this.#isClosing) await this.#pause(RETRY_MS);
      }
    });
  }

  /** Serves a front-end on a connected socket, until that ends. The descriptor becomes the backend's. */
  adopt(fd: number): void {
    this.#serve(() => this.#runSession(fd));
  }

  /** Resolves when serving has ended: after `close`, or when an adopted connection is over. */
  get ended(): Promise<void> {
    return this.#serving;
  }

  /** Ends the connection, if there is one, and serves no more. The data plane is closed too. */
  async close(): Promise<void> {
    if (this.#isClosing) return await this.#serving;
    this.#isClosing = true;
    this.#session?.end();
    signalEvent(this.#wakeFd);
    await this.#serving;
    await this.#context.plane.close();
    this.#forgetExit();
    this.#context.window?.state.close();
    if (this.#context.window !== null) closeSync(this.#context.window.stateFd);
    closeSync(this.#wakeFd);
  }

  #serve(loop: () => Promise<void>): void {
    this.#serving = this.#serving.then(loop).catch((error: Error) => {
      this.#log(`${this.#device.name}: ${error.message}`);
    });
  }

  async #runSession(fd: number): Promise<void> {
    const { name } = this.#device;
    const session = new Session(fd, this.#wakeFd, this.#context);
    this.#session = session;
    if (this.#isClosing) session.end();
    this.#log(`${name}: a front-end has connected`);
    try {
      await session.run();
      this.#log(`${name}: the connection has ended`);
    } catch (error) {
      this.#log(`${name}: the connection was ended: ${(error as Error).message}`);
    } finally {
      this.#session = null;
      // What woke the session must not wake the wait for the next one, unless that is to end too.
      if (!this.#isClosing) takeEvent(this.#wakeFd);
    }
  }

  async #readable(fd: number): Promise<void> {
    const poll = new PollSet(2);
    poll.add(fd, POLLIN);
    poll.add(this.#wakeFd, POLLIN);
    await poll.waitAsync(-1);
  }

  async #pause(ms: number): Promise<void> {
    const poll = new PollSet(1);
    poll.add(this.#wakeFd, POLLIN);
    await poll.waitAsync(ms);
  }
}

function tryConnect(path: string): number {
  try {
    return connectUnix(path);
  } catch {
    // Not there yet, or not listening yet: asked again.
    return -1;
  }
}

function listenOrReplace(path: string): number {
  try {
    return listenUnix(path);
  } catch (error) {
    if (!(error instanceof SysError) || error.code !== "EADDRINUSE" || !isAbandoned(path)) throw error;
    unlinkSync(path);
    return listenUnix(path);
  }
}

/** Whether at `path` there is a socket that nobody listens on. */
function isAbandoned(path: string): boolean {
  try {
    closeSync(connectUnix(path));
    return false;
  } catch (error) {
    return error instanceof SysError && error.code === "ECONNREFUSED";
  }
}

function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody else has removed it.
  }
}
