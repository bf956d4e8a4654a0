import { Worker } from "node:worker_threads";
import type { Store } from "../../blobd/store/index.ts";
import type { LayerJob, StoredLayer } from "./layer-job.ts";
import { type FromConverter, type PlainError, serveJob, type ToConverter } from "./layer-messages.ts";
import type { WorkerSettings } from "./layer-worker.ts";
import type { ProgressListener } from "./progress.ts";

/** A layer could not be converted; `code` is that of the error behind it (ERR_TRUNCATED, ERR_DIGEST, ERR_STORE_FULL…). */
export class LayerError extends Error {
  override readonly name = "LayerError";
  readonly code: string;
  readonly layerDigest: string | null;

  constructor(layerDigest: string | null, cause: PlainError) {
    const told = layerDigest === null || cause.message.includes(layerDigest);
    super(told ? cause.message : `layer ${layerDigest}: ${cause.message}`);
    this.code = cause.code;
    this.layerDigest = layerDigest;
  }
}

/** How long a worker that was told to stop may take to remove what it was writing. */
const STOP_GRACE_MS = 5000;

/** A way to a thread that converts layers. */
export interface Channel {
  send(message: ToConverter): void;
  /** Asks it to end and waits until it has. */
  close(): Promise<void>;
}

/** Makes a channel. `fail` is told when its thread ends by itself, and why. */
export type Connect = (receive: (message: FromConverter) => void, fail: (error: Error) => void) => Channel;

/** Layers converted in this thread. */
export function localChannel(store: Store): Connect {
  return (receive) => {
    const abort = new AbortController();
    return {
      send(message) {
        if (message.type === "convert") void serveJob(store, message.job, receive, abort.signal);
        else abort.abort(new Error("interrupted"));
      },
      close: async () => {},
    };
  };
}

/** Layers converted in a worker thread of their own. */
export function workerChannel(settings: WorkerSettings): Connect {
  return (receive, fail) => {
    const worker = new Worker(new URL("./layer-worker.js", import.meta.url), { workerData: settings });
    const terminateSoon = () => setTimeout(() => void worker.terminate(), STOP_GRACE_MS).unref();
    worker.on("message", receive);
    worker.on("error", (error) => fail(error as Error));
    const exited = new Promise<void>((resolve) =>
      worker.on("exit", () => {
        fail(new Error("the layers' worker thread ended early"));
        resolve();
      }),
    );
    return {
      send(message) {
        worker.postMessage(message);
        if (message.type === "abort") terminateSoon();
      },
      close() {
        worker.postMessage({ type: "close" } satisfies ToConverter);
        terminateSoon();
        return exited;
      },
    };
  };
}

/** A job that the converter has, and who waits for it. */
interface Pending {
  readonly job: LayerJob;
  resolve(layer: StoredLayer): void;
  reject(error: Error): void;
}

/** One thread's end of the pool: jobs in, layers out. */
export class LayerConverter {
  private readonly channel: Channel;
  private readonly onProgress: ProgressListener;
  private readonly signal: AbortSignal;
  private readonly onAbort = () => this.channel.send({ type: "abort" });
  private readonly pending = new Map<number, Pending>();
  private failure: Error | null = null;

  constructor(connect: Connect, onProgress: ProgressListener, signal: AbortSignal) {
    this.onProgress = onProgress;
    this.signal = signal;
    this.channel = connect(
      (message) => this.receive(message),
      (error) => this.fail(this.told(error)),
    );
    signal.addEventListener("abort", this.onAbort);
  }

  /** @throws LayerError */
  convert(job: LayerJob): Promise<StoredLayer> {
    return new Promise((resolve, reject) => {
      if (this.failure !== null) throw this.failure;
      this.pending.set(job.index, { job, resolve, reject });
      this.channel.send({ type: "convert", job });
      if (this.signal.aborted) this.onAbort();
    });
  }

  async close(): Promise<void> {
    this.signal.removeEventListener("abort", this.onAbort);
    await this.channel.close();
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

  private receive(message: FromConverter): void {
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
