/** What travels between the pool and whoever converts its layers, in this thread or another, and the work itself. */
import type { Store } from "../../blobd/store/index.ts";
import { type LayerJob, runLayerJob, type StoredLayer } from "./layer-job.ts";
import type { LayerState } from "./progress.ts";

export type ToConverter =
  | { readonly type: "convert"; readonly job: LayerJob }
  | { readonly type: "abort" }
  | { readonly type: "close" };

export type FromConverter =
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

/** Progress is told at most this often. */
const PROGRESS_INTERVAL_MS = 50;

/** Converts a layer and posts how it goes; ends with `done` or `failed`, never by throwing. */
export async function serveJob(
  store: Store,
  job: LayerJob,
  post: (message: FromConverter) => void,
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
const TOLD_BY_MESSAGE = /^(Conversion|Document|ErofsWrite|Format|LayerGone|Merge|Source|Store|Sys|Upper)Error$/;

/** What of an error can cross threads. */
export function plainError(error: unknown): PlainError {
  const { name = "Error", code, message = String(error), stack } = error as Partial<Error & { code: unknown }>;
  if (TOLD_BY_MESSAGE.test(name) && typeof code === "string") return { name, code, message };
  return { name, code: "ERR_INTERNAL", message: stack ?? message };
}
