/** A worker thread that converts layers, several at a time. Started by layer-pool.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { Store } from "../../blobd/store/index.ts";
import { type LayerJob, runLayerJob, type StoredLayer } from "./layer-job.ts";
import type { LayerState } from "./progress.ts";

/** What a worker is started with. */
export interface WorkerSettings {
  readonly storeRoot: string;
}

export type ToWorker =
  | { readonly type: "convert"; readonly job: LayerJob }
  | { readonly type: "abort" }
  | { readonly type: "close" };

export type FromWorker =
  | { readonly type: "progress"; readonly index: number; readonly state: LayerState; readonly bytes: number }
  | { readonly type: "retry"; readonly index: number; readonly reason: string }
  | { readonly type: "warning"; readonly message: string }
  | { readonly type: "done"; readonly index: number; readonly layer: StoredLayer }
  | { readonly type: "failed"; readonly index: number; readonly error: PlainError };

/** An error as plain data: classes do not survive the way between threads. */
export interface PlainError {
  readonly name: string;
  readonly code: string;
  readonly message: string;
}

/** Progress goes to the main thread at most this often. */
const PROGRESS_INTERVAL_MS = 50;

if (parentPort !== null) await serve(parentPort, workerData as WorkerSettings);

async function serve(port: NonNullable<typeof parentPort>, settings: WorkerSettings): Promise<void> {
  const post = (message: FromWorker) => port.postMessage(message);
  const store = await Store.open(settings.storeRoot, { onWarning: (message) => post({ type: "warning", message }) });
  const abort = new AbortController();
  port.on("message", (message: ToWorker) => {
    if (message.type === "abort") abort.abort(new Error("interrupted"));
    else if (message.type === "close") {
      store.close();
      // Ends this thread at once: connections kept alive for another request would hold it for a while.
      process.exit();
    } else void convert(store, message.job, post, abort.signal);
  });
}

async function convert(
  store: Store,
  job: LayerJob,
  post: (message: FromWorker) => void,
  signal: AbortSignal,
): Promise<void> {
  const { index } = job;
  let lastMs = 0;
  const observer = {
    progress(state: LayerState, bytes: number) {
      const nowMs = performance.now();
      if (state === "converting" && bytes > 0 && nowMs - lastMs < PROGRESS_INTERVAL_MS) return;
      lastMs = nowMs;
      post({ type: "progress", index, state, bytes });
    },
    retry: (reason: string) => post({ type: "retry", index, reason }),
  };
  try {
    post({ type: "done", index, layer: await runLayerJob(store, job, observer, signal) });
  } catch (error) {
    post({ type: "failed", index, error: plainError(error) });
  }
}

/** The errors of this project that tell the user what is wrong; any other is a mistake of ours, and its stack is told. */
const TOLD_BY_MESSAGE = /^(Format|Document|Source|Store|Sys|ErofsWrite)Error$/;

/** What of an error can cross threads. */
export function plainError(error: unknown): PlainError {
  const { name = "Error", code, message = String(error), stack } = error as Partial<Error & { code: unknown }>;
  if (TOLD_BY_MESSAGE.test(name) && typeof code === "string") return { name, code, message };
  return { name, code: "ERR_INTERNAL", message: stack ?? message };
}
