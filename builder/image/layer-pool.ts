import { Worker } from "node:worker_threads";
import type { LayerJob, StoredLayer } from "./layer-job.ts";
import type { FromWorker, PlainError, ToWorker, WorkerSettings } from "./layer-worker.ts";
import type { ProgressListener } from "./progress.ts";

/** A layer could not be converted; `code` is that of the error behind it (ERR_TRUNCATED, ERR_DIGEST, ERR_STORE_FULL…). */
export class LayerError extends Error {
  override readonly name = "LayerError";
  readonly code: string;
  readonly layerDigest: string | null;

  constructor(layerDigest: string | null, cause: PlainError) {
    super(layerDigest === null ? cause.message : `layer ${layerDigest}: ${cause.message}`);
    this.code = cause.code;
    this.layerDigest = layerDigest;
  }
}

/** What a conversion hears of its layers. */
export interface PoolObserver {
  readonly onProgress: ProgressListener;
  /** A layer is in the store; called while others are still in work. */
  onLayer(layer: StoredLayer): void;
}

/** How long a worker that was told to stop may take to remove what it was writing. */
const STOP_GRACE_MS = 5000;

/** How many layers are in work at once, and on how many threads. */
export interface PoolSize {
  readonly layers: number;
  readonly threads: number;
}

/**
 * Converts layers in worker threads, largest first so that none is left alone at the end. A thread has several layers in
 * work: inflating, hashing and writing happen on libuv's thread pool, and what is left to JavaScript is so little that
 * another thread's start and compilation cost more than it brings, up to about one thread for two processors.
 *
 * @returns the layers in the order of `jobs`.
 * @throws LayerError of the first layer that failed, after all others have stopped; the reason of `signal`
 */
export async function convertLayers(
  jobs: readonly LayerJob[],
  size: PoolSize,
  settings: WorkerSettings,
  observer: PoolObserver,
  signal: AbortSignal,
): Promise<StoredLayer[]> {
  const queue = [...jobs].sort((a, b) => a.layer.size - b.layer.size);
  const layers = new Map<number, StoredLayer>();
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const inWork = Math.min(size.layers, jobs.length);
  const workers = Array.from(
    { length: Math.min(size.threads, inWork) },
    () => new LayerWorker(settings, observer.onProgress, either),
  );
  const convertSome = async (worker: LayerWorker) => {
    for (let job = queue.pop(); job !== undefined && !either.aborted; job = queue.pop()) {
      const layer = await worker.convert(job);
      layers.set(job.index, layer);
      observer.onLayer(layer);
    }
  };
  const lines = Array.from({ length: inWork }, (_, i) => convertSome(workers[i % workers.length] as LayerWorker));
  await Promise.all(lines.map((line) => line.catch((error) => stop.abort(error))));
  await Promise.all(workers.map((worker) => worker.close()));
  signal.throwIfAborted();
  stop.signal.throwIfAborted();
  return jobs.map(({ index }) => layers.get(index) as StoredLayer);
}

/** A job whose worker has it, and who waits for it. */
interface Pending {
  readonly job: LayerJob;
  resolve(layer: StoredLayer): void;
  reject(error: Error): void;
}

class LayerWorker {
  private readonly worker: Worker;
  private readonly exited: Promise<void>;
  private readonly onProgress: ProgressListener;
  private readonly signal: AbortSignal;
  private readonly onAbort = () => {
    this.send({ type: "abort" });
    setTimeout(() => void this.worker.terminate(), STOP_GRACE_MS).unref();
  };
  private readonly pending = new Map<number, Pending>();
  private failure: Error | null = null;

  constructor(settings: WorkerSettings, onProgress: ProgressListener, signal: AbortSignal) {
    this.onProgress = onProgress;
    this.signal = signal;
    this.worker = new Worker(new URL("./layer-worker.js", import.meta.url), { workerData: settings });
    this.worker.on("message", (message: FromWorker) => this.receive(message));
    this.worker.on("error", (error) => this.fail(this.told(error as NodeJS.ErrnoException)));
    this.exited = new Promise((resolve) =>
      this.worker.on("exit", () => {
        this.fail(new Error("the layers' worker thread ended early"));
        resolve();
      }),
    );
    signal.addEventListener("abort", this.onAbort);
  }

  convert(job: LayerJob): Promise<StoredLayer> {
    return new Promise((resolve, reject) => {
      if (this.failure !== null) throw this.failure;
      this.pending.set(job.index, { job, resolve, reject });
      this.send({ type: "convert", job });
      if (this.signal.aborted) this.onAbort();
    });
  }

  /** Lets the worker end by itself, and ends it when it does not. */
  async close(): Promise<void> {
    this.signal.removeEventListener("abort", this.onAbort);
    this.send({ type: "close" });
    const timer = setTimeout(() => void this.worker.terminate(), STOP_GRACE_MS);
    await this.exited;
    clearTimeout(timer);
  }

  /** An error that ended the thread; that it ran out of memory is the layers' doing, not ours. */
  private told(error: NodeJS.ErrnoException): Error {
    if (error.code !== "ERR_WORKER_OUT_OF_MEMORY") return error;
    const message = "needs more memory than Node.js may use; NODE_OPTIONS=--max-old-space-size=MIB raises it";
    const [first] = this.pending.values();
    return new LayerError(first?.job.layer.digest ?? null, { name: "Error", code: "ERR_LIMIT", message });
  }

  private fail(error: Error): void {
    this.failure ??= error;
    for (const { reject } of this.pending.values()) reject(error);
    this.pending.clear();
  }

  private send(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  private receive(message: FromWorker): void {
    switch (message.type) {
      case "progress":
        this.onProgress({ type: "layer", index: message.index, state: message.state, bytes: message.bytes });
        break;
      case "retry":
      case "warning":
        this.onProgress(message);
        break;
      case "done":
        this.take(message.index)?.resolve(message.layer);
        break;
      case "failed": {
        const pending = this.take(message.index);
        pending?.reject(new LayerError(pending.job.layer.digest, message.error));
      }
    }
  }

  private take(index: number): Pending | undefined {
    const pending = this.pending.get(index);
    this.pending.delete(index);
    return pending;
  }
}
