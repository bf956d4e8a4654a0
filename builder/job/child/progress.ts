/** Sums the progress of layers and blobs up, and tells it not too often. */
import type { ProgressEvent } from "../../image/index.ts";
import type { PushEvent } from "../../push/index.ts";
import type { ConversionMessage } from "../child-messages.ts";

export type Tell = (message: ConversionMessage) => void;

/** Between two lines of progress. */
const PROGRESS_MS = 250;

/** Bytes of several parts of one phase. */
class Parts {
  readonly #phase: "converting" | "pushing";
  readonly #tell: Tell;
  readonly totalBytes: number;
  readonly #done: number[];
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(phase: "converting" | "pushing", sizes: readonly number[], tell: Tell) {
    this.#phase = phase;
    this.#tell = tell;
    this.#done = sizes.map(() => 0);
    this.totalBytes = sizes.reduce((sum, size) => sum + size, 0);
    this.set(-1, 0);
  }

  set(index: number, bytes: number): void {
    if (index >= 0) this.#done[index] = bytes;
    if (performance.now() - this.#toldMs < PROGRESS_MS) return;
    this.#toldMs = performance.now();
    const doneBytes = this.#done.reduce((sum, done) => sum + done, 0);
    this.#tell({ type: "progress", phase: this.#phase, doneBytes, totalBytes: this.totalBytes });
  }
}

export function conversionProgress(tell: Tell): (event: ProgressEvent) => void {
  let parts: Parts | undefined;
  return (event) => {
    switch (event.type) {
      case "resolved":
        parts = new Parts(
          "converting",
          event.layers.map(({ size }) => size),
          tell,
        );
        break;
      case "layer":
        parts?.set(event.index, event.bytes);
        break;
      case "merging": {
        const bytes = parts?.totalBytes ?? 0;
        tell({ type: "progress", phase: "merging", doneBytes: bytes, totalBytes: bytes });
        break;
      }
      case "warning":
        tell({ type: "warning", message: event.message });
        break;
      case "retry":
        tell({ type: "warning", message: `trying again: ${event.reason}` });
    }
  };
}

export function pushProgress(tell: Tell): (event: PushEvent) => void {
  let parts: Parts | undefined;
  return (event) => {
    if (event.type === "blob") parts?.set(event.index, event.bytes);
    else
      parts = new Parts(
        "pushing",
        event.blobs.map(({ size }) => size),
        tell,
      );
  };
}
