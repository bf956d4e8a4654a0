import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { BlobTable, TableMemory, Tickets } from "../fuse/blobs/index.ts";

/** A range of a blob whose pages are to be stored. */
export interface StoreOrder {
  readonly index: number;
  readonly nodeId: number;
  readonly offset: number;
  readonly bytes: number;
  /** Of the mount, in the process's table. */
  readonly deviceFd: number;
}

/** What the thread is started with. */
export interface StorerStart {
  readonly table: TableMemory;
  /** Word 0: orders that are not done. */
  readonly pending: SharedArrayBuffer;
}

/** Orders that may wait: more would only tell what has been read by then. */
const MAX_PENDING = 64;

/**
 * Puts what has just been fetched into the page cache of the mount's files, so that a reader that has waited for one page has the
 * whole chunk.
 *
 * The kernel stores a page under its lock, and a page that somebody's READ is about is locked until that is answered. So this is
 * done by a thread of its own: nobody's READ depends on it, nor on a thread that waits for it. The main thread would not do, for a
 * READ that reaches into the next chunk is answered when that has been fetched.
 *
 * A process that is killed while the thread waits there ends when the READ does; so the thread must not have the descriptors by
 * which the READ was taken: it has a table of descriptors of its own, from before the mount was made.
 */
export class PageStorer {
  readonly #table: BlobTable;
  readonly #tickets: Tickets;
  readonly #worker: Worker;
  readonly #pending: Int32Array;

  /** Starts the thread: before anything is mounted. */
  static async start(table: BlobTable, tickets: Tickets, log: (line: string) => void): Promise<PageStorer> {
    const pending = new SharedArrayBuffer(4);
    const workerData: StorerStart = { table: table.memory, pending };
    const worker = new Worker(new URL("./page-storer-thread.js", import.meta.url), {
      workerData,
      // Its descriptors are its own.
      trackUnmanagedFds: false,
    });
    await once(worker, "message");
    const tell = (why: string) => log(`what is fetched is not put into the page cache: ${why}`);
    worker.on("message", tell).on("error", ({ message }) => tell(message));
    // It is one of the service's, and keeps no process.
    worker.unref();
    return new PageStorer(table, tickets, worker, new Int32Array(pending));
  }

  private constructor(table: BlobTable, tickets: Tickets, worker: Worker, pending: Int32Array) {
    this.#table = table;
    this.#tickets = tickets;
    this.#worker = worker;
    this.#pending = pending;
  }

  /** Stores a range that is there, unless nobody has the blob open, or there is much to do already. */
  store(deviceFd: number, index: number, offset: number, bytes: number): void {
    // A READ that waits for more than this chunk would hold the thread up, and a process that is killed meanwhile.
    if (this.#tickets.isWaitedFor(index, offset, bytes)) return;
    // It must not be closed under the thread, which gives this use back.
    if (Atomics.load(this.#pending, 0) >= MAX_PENDING || !this.#table.use(index)) return;
    Atomics.add(this.#pending, 0, 1);
    const order: StoreOrder = { index, nodeId: this.#table.nodeId(index), offset, bytes, deviceFd };
    this.#worker.postMessage(order);
  }

  /** The mount is gone. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
