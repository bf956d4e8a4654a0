import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { DIGEST_BYTES, VERITY_BLOCK, VERITY_SALT } from "../../formats/verity/index.ts";
import { addressOf, blockDigests } from "../sys/index.ts";
import type { DigestRequest } from "./verity-worker.ts";

/** More threads than this wait for memory, not for sha256. */
const MAX_WORKERS = 8;

/** A piece of data in work. */
interface Task {
  readonly bytes: Uint8Array;
  readonly out: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Threads that compute the digests of blocks: nine tenths of a hash tree's cost. libuv's pool could do it only block by block,
 * and the way there and back costs more than hashing 4 KiB. Threads start when there is work for them and hold no
 * process up when there is none.
 */
class VerityPool {
  readonly #maxWorkers: number;
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Task>();
  readonly #queue: Task[] = [];

  constructor(maxWorkers: number) {
    this.#maxWorkers = maxWorkers;
  }

  /**
   * Digests of all blocks of `bytes` (whole blocks) go to `out`, 32 bytes each. Both are native memory or buffers of their
   * own, and neither may be used until it is done.
   */
  digest(bytes: Uint8Array, out: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ bytes, out, resolve, reject });
      this.#next();
    });
  }

  #next(): void {
    const task = this.#queue[0];
    if (task === undefined) return;
    const worker = this.#idle.pop() ?? this.#start();
    if (worker === undefined) return;
    this.#queue.shift();
    this.#busy.set(worker, task);
    worker.ref();
    const { bytes, out } = task;
    worker.postMessage({
      address: addressOf(bytes),
      blocks: bytes.length / VERITY_BLOCK,
      out: addressOf(out),
    } satisfies DigestRequest);
  }

  #start(): Worker | undefined {
    if (this.#busy.size + this.#idle.length >= this.#maxWorkers) return undefined;
    const worker = new Worker(new URL("./verity-worker.js", import.meta.url));
    worker.on("message", () => {
      const task = this.#busy.get(worker);
      this.#busy.delete(worker);
      this.#idle.push(worker);
      worker.unref();
      task?.resolve();
      this.#next();
    });
    const gone = (error: Error) => {
      const task = this.#busy.get(worker);
      this.#busy.delete(worker);
      const at = this.#idle.indexOf(worker);
      if (at >= 0) this.#idle.splice(at, 1);
      task?.reject(error);
      this.#next();
    };
    worker.on("error", (error) => gone(error as Error));
    worker.on("exit", () => gone(new Error("a thread that computes digests ended early")));
    return worker;
  }
}

let pool: VerityPool | undefined;

/** `VerityPool.digest` on this thread's pool: one thread a processor. */
export function digestBlocks(bytes: Uint8Array, out: Uint8Array): Promise<void> {
  pool ??= new VerityPool(Math.min(MAX_WORKERS, availableParallelism()));
  return pool.digest(bytes, out);
}

/** The same, by this thread, at once. */
export function digestBlocksSync(bytes: Uint8Array, out: Uint8Array): void {
  const digests = blockDigests(VERITY_SALT);
  try {
    digests.hash(addressOf(bytes), bytes.length / VERITY_BLOCK, addressOf(out));
  } finally {
    digests.free();
  }
}

/** Room for the digests of `blocks` blocks, whole blocks of the tree. */
export function digestRoom(blocks: number): Uint8Array {
  return Buffer.alloc(Math.ceil((blocks * DIGEST_BYTES) / VERITY_BLOCK) * VERITY_BLOCK);
}
