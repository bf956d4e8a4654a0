import { closeSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { cloneFuseDevice, SysError, UmountFlag, unmount, unmountAsync } from "../../sys/index.ts";
import { FuseSession, MAX_WRITE_BYTES, SESSION_WORDS } from "../index.ts";
import { type Attached, type AttachOptions, attach, detachByHelper } from "./attach.ts";
import { abortConnection, findFuseMount, isConnected } from "./connection.ts";
import type { FileSystemSource, ServeMessage, ThreadJob, ThreadMessage } from "./job.ts";
import { FuseNotifier } from "./notifier.ts";

export interface FuseMountOptions extends AttachOptions {
  readonly fileSystem: FileSystemSource;
  /** Threads that serve it, 1 to MAX_THREADS. */
  readonly threads: number;
  /** Takes lines about what somebody should look into. */
  readonly log: (line: string) => void;
  /** A mount that another process has made and holds, so that it outlives this one. */
  readonly held?: HeldMount;
}

/** What kernel and server have agreed on: see FuseSession. */
export interface SessionTerms {
  readonly minor: number;
  readonly flags: number;
  readonly flags2: number;
}

/** A mount that some process holds by its descriptor, while others serve it, one after the other. */
export interface HeldMount {
  readonly attached: Attached;
  /** Of the process before; null when this is the first. */
  readonly terms: SessionTerms | null;
}

/** Most threads of a mount. */
export const MAX_THREADS = 64;
/** How long an unmount may take before the connection is aborted: the server must answer to it, in ms. */
const UNMOUNT_TIMEOUT_MS = 5_000;
/** How long threads may take to leave when their mount is gone, in ms. */
const LEAVE_TIMEOUT_MS = 5_000;

/**
 * A file system mounted on this host through /dev/fuse.
 *
 * ```
 *  kernel ── /dev/fuse ──┬── clone ── thread: read, FuseServer.handle, write
 *                        ├── clone ── thread
 *                        └── this object: mounts, notifies, unmounts; handles no requests
 * ```
 * When the process dies the kernel ends the mount: whoever uses it gets ENOTCONN, nobody hangs.
 */
export class FuseMount {
  readonly target: string;
  /** Tells the kernel what has changed. */
  readonly notifier: FuseNotifier;
  /** Resolves when the mount is gone and all threads have left; rejects when a thread failed. */
  readonly done: Promise<void>;
  /** Resolves when it has answered something. */
  readonly started: Promise<void> = Promise.resolve();
  readonly #session: FuseSession;
  readonly #isHeld: boolean;
  readonly #attached: Attached;
  readonly #threads: readonly Thread[];
  readonly #onExit = () => removeMount(this.#attached);
  /** All threads have left, and the descriptors are closed. */
  #isOver = false;

  /**
   * Opens the file system in each thread, then mounts it. The kernel's INIT may still be on its way when this resolves;
   * what is asked of the mount waits for it.
   * @throws SysError when it cannot be mounted; Error when the file system cannot be opened. Nothing is left then.
   */
  static async start(options: FuseMountOptions): Promise<FuseMount> {
    const { threads: count } = options;
    if (!Number.isInteger(count) || count < 1 || count > MAX_THREADS)
      throw new RangeError(`threads: found ${count}, expected 1 to ${MAX_THREADS}`);
    const shared = new SharedArrayBuffer((SESSION_WORDS + 1) * 4);
    const job: ThreadJob = { fileSystem: options.fileSystem, shared, threads: count };
    const threads = Array.from({ length: count }, () => new Thread(job, options.log));
    try {
      await Promise.all(threads.map((thread) => thread.ready));
      if (options.held !== undefined) return new FuseMount(options.held.attached, threads, shared, options.held);
      return new FuseMount(attach(options), threads, shared);
    } catch (error) {
      for (const thread of threads) thread.terminate();
      throw error;
    }
  }

  private constructor(attached: Attached, threads: readonly Thread[], shared: SharedArrayBuffer, held?: HeldMount) {
    this.#attached = attached;
    this.target = attached.target;
    this.#threads = threads;
    this.#isHeld = held !== undefined;
    this.#session = new FuseSession(new Int32Array(shared, 0, SESSION_WORDS));
    this.notifier = new FuseNotifier(attached.fd);
    const { terms = null } = held ?? {};
    if (terms !== null) this.#session.start(terms.minor, terms.flags, terms.flags2);
    // Requests that were read through a clone end with it: whoever takes over is sent those of the mount's own descriptor.
    const fds = threads.map(() => (this.#isHeld ? attached.fd : this.#clone()));
    threads.forEach((thread, index) => {
      thread.serve({ fd: fds[index]!, isShared: fds.length > 1 && fds[index] === attached.fd });
    });
    this.done = this.#serve(fds);
    this.done.catch(() => {}); // Whoever waits is told; nobody has to.
    if (terms !== null) this.notifier.resend();
    else this.started = raiseReadahead(attached);
    // A thread in read(2) cannot be ended, and process.exit() would wait for it.
    if (!this.#isHeld) process.on("exit", this.#onExit);
  }

  /** Of a mount that is `started`. */
  get terms(): SessionTerms {
    const { minor, flags, flags2 } = this.#session;
    return { minor, flags, flags2 };
  }

  /** The descriptor of /dev/fuse that the mount was made with. */
  get deviceFd(): number {
    return this.#attached.fd;
  }

  /**
   * Takes the mount away and waits until all threads have left.
   * @param whenBusy what to do while somebody uses it: `fail` with EBUSY; `detach` it, so that nobody new gets in and those
   *   who are there may finish; `abort`, so that they get errors.
   * @throws SysError EBUSY
   */
  async unmount(whenBusy: "fail" | "detach" | "abort"): Promise<void> {
    try {
      const isGone = await withTimeout(this.#unmount(false), UNMOUNT_TIMEOUT_MS);
      if (!isGone) return await this.abort(); // Its server does not answer.
    } catch (error) {
      if (!(error instanceof SysError) || error.code !== "EBUSY") {
        // EINVAL, ENOENT: somebody else has unmounted it.
        if (error instanceof SysError && (error.code === "EINVAL" || error.code === "ENOENT")) return await this.done;
        throw error;
      }
      if (whenBusy === "fail") throw error;
      if (whenBusy === "abort") return await this.abort();
      await this.#unmount(true);
    }
    await this.done;
  }

  /** Ends the connection, whoever uses it or hangs in it, and takes the mount away. */
  async abort(): Promise<void> {
    if (this.#isOver) return;
    abortOwn(this.#attached);
    await this.#unmount(true).catch(() => {}); // It may be gone, or detached, already.
    const hasLeft = await withTimeout(
      this.done.catch(() => {}),
      LEAVE_TIMEOUT_MS,
    );
    if (!hasLeft) for (const thread of this.#threads) thread.terminate(); // Ends what loops; what waits in a call stays.
  }

  async #unmount(lazy: boolean): Promise<void> {
    if (this.#attached.byHelper) return detachByHelper(this.target, lazy);
    await unmountAsync(this.target, UmountFlag.NOFOLLOW | (lazy ? UmountFlag.DETACH : 0));
  }

  #clone(): number {
    try {
      return cloneFuseDevice(this.#attached.fd);
    } catch {
      return this.#attached.fd; // A user who may not open /dev/fuse: the threads share what the helper opened.
    }
  }

  async #serve(fds: readonly number[]): Promise<void> {
    const results = await Promise.allSettled(
      this.#threads.map((thread) =>
        thread.ended.catch((error: unknown) => {
          // Without this thread its requests would wait for ever, or for the process that takes over.
          if (!this.#isHeld) abortOwn(this.#attached);
          throw error;
        }),
      ),
    );
    process.off("exit", this.#onExit);
    this.#isOver = true;
    for (const fd of new Set([...fds, this.#attached.fd])) closeSync(fd);
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) return;
    await this.#unmount(true).catch(() => {});
    throw failed.reason;
  }
}

/** Aborts the connection if it is still there: its number is another mount's otherwise, perhaps. */
function abortOwn({ fd, connection }: Attached): void {
  if (isConnected(fd)) abortConnection(connection);
}

/** For a process that ends without unmounting: callers get errors, and the mount goes. */
export function removeMount(attached: Attached): void {
  const { connection, target, byHelper } = attached;
  abortOwn(attached);
  try {
    // The place may have another mount by now.
    if (findFuseMount(target)?.connection !== connection) return;
    if (byHelper) detachByHelper(target, true);
    else unmount(target, { lazy: true });
  } catch {
    // It is dead, and will be replaced.
  }
}

/**
 * Linux reads 128 KiB ahead on a FUSE mount; as much as one READ carries is a quarter faster. Root may say so, once INIT, which
 * sets it, has been answered.
 */
async function raiseReadahead({ connection, target }: Attached): Promise<void> {
  try {
    await stat(target);
    await writeFile(`/sys/class/bdi/0:${connection}/read_ahead_kb`, String(MAX_WRITE_BYTES / 1024));
  } catch {
    // It works without.
  }
}

/** A thread of the mount. */
class Thread {
  readonly ready: Promise<void>;
  readonly ended: Promise<void>;
  readonly #worker: Worker;

  constructor(job: ThreadJob, log: (line: string) => void) {
    // Its descriptors are opened by system calls that Node.js does not know of, which would warn of each that is closed.
    const worker = new Worker(new URL("./thread.js", import.meta.url), { workerData: job, trackUnmanagedFds: false });
    this.#worker = worker;
    worker.on("message", (message: ThreadMessage) => {
      if (message.kind === "log") log(message.line);
    });
    const until = (kind: ThreadMessage["kind"]) =>
      new Promise<void>((resolve, reject) => {
        worker.on("message", (message: ThreadMessage) => {
          if (message.kind === kind) resolve();
          else if (message.kind === "failed") reject(new Error(message.message));
        });
        worker.on("error", reject);
        worker.on("exit", () => reject(new Error("a thread of the mount has ended too early")));
      });
    this.ready = until("ready");
    this.ended = until("ended");
    for (const promise of [this.ready, this.ended]) promise.catch(() => {}); // Whoever waits is told.
  }

  serve(message: ServeMessage): void {
    this.#worker.postMessage(message);
  }
  terminate(): void {
    void this.#worker.terminate();
  }
}

/** Waits at most `ms`. @returns whether it came to an end */
async function withTimeout(work: Promise<void>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  try {
    return await Promise.race([work.then(() => true), sleep(ms, false, { signal: timer.signal }).catch(() => false)]);
  } finally {
    timer.abort();
  }
}
