import type {
  FromConverter,
  Job,
  LayerJob,
  PruneJob,
  PruneJobResult,
  ToConverter,
} from "../../blobd/conversion/index.ts";
import { Store } from "../../blobd/store/index.ts";
import { plainError } from "../image/index.ts";
import { readFileRange } from "../sources/index.ts";
import { diffJob } from "./diff.ts";
import { flatJob } from "./flat.ts";
import { directoryJob, layerJob } from "./layer.ts";
import { mergeJob } from "./merge.ts";
import { standaloneJob } from "./standalone.ts";
import { StoreUse } from "./store-use.ts";

/** How long a prune waits for others to leave the store, in ms; the daemon asks again. */
const PRUNE_WAIT_MS = 1000;

/** The daemon's end of the channel. */
export interface Channel {
  send(message: FromConverter): void;
}

/** A job in work. */
interface Running {
  readonly abort: AbortController;
  /** Takes the next bytes of a layer that the daemon sends. */
  feed: ((bytes: Uint8Array | null) => void) | null;
}

/** Does a daemon's jobs, several at a time. One that fails tells why; nothing that a layer holds can make it throw. */
export class ConverterServer {
  readonly #channel: Channel;
  readonly #running = new Map<number, Running>();
  readonly #stores: StoreUse;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.#stores = new StoreUse((message) => channel.send({ type: "warning", message }));
  }

  /** Takes a message of the daemon's. */
  receive(message: ToConverter): void {
    switch (message.type) {
      case "job":
        void this.#run(message.id, message.job);
        return;
      case "data":
        this.#running.get(message.id)?.feed?.(message.bytes);
        return;
      case "abort":
        this.#running.get(message.id)?.abort.abort(new AbortedError("the job was called off"));
    }
  }

  /** Calls all jobs off and waits for them. */
  async close(): Promise<void> {
    for (const { abort } of this.#running.values()) abort.abort(new AbortedError("the converter ends"));
    while (this.#running.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async #run(id: number, job: Job): Promise<void> {
    const running: Running = { abort: new AbortController(), feed: null };
    this.#running.set(id, running);
    try {
      const result = await this.#work(id, job, running);
      this.#channel.send({ type: "done", id, result });
    } catch (error) {
      const { code, message } = plainError(error);
      this.#channel.send({ type: "failed", id, code, message });
    } finally {
      this.#running.delete(id);
    }
  }

  #work(id: number, job: Job, running: Running): Promise<unknown> {
    const { signal } = running.abort;
    switch (job.kind) {
      case "layer":
        return this.#stores.use(job.store, (store) =>
          layerJob(store, job, () => this.#content(id, job, running, signal), signal),
        );
      case "directory":
        return this.#stores.use(job.store, (store) => directoryJob(store, job, signal));
      case "merge":
        return this.#stores.use(job.store, (store) => mergeJob(store, job));
      case "flat":
        return this.#stores.use(job.store, (store) => flatJob(store, job, signal));
      case "standalone":
        return this.#stores.use(job.store, (store) => standaloneJob(store, job));
      case "diff":
        return diffJob(job, signal);
      case "prune":
        return pruneJob(job);
    }
  }

  #content(id: number, job: LayerJob, running: Running, signal: AbortSignal): AsyncIterable<Uint8Array> {
    // One byte more than expected, so that a file that has grown is found out.
    return job.path === null ? this.#received(id, running, signal) : readFileRange(job.path, 0, job.size + 1, signal);
  }

  /** The layer's bytes as the daemon sends them, one chunk asked for ahead. */
  async *#received(id: number, running: Running, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const aborted = new Promise<never>((_, reject) =>
      signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
    );
    aborted.catch(() => {}); // It may come when nobody waits any more.
    const ask = () => {
      const answer = new Promise<Uint8Array | null>((resolve) => {
        running.feed = resolve;
      });
      this.#channel.send({ type: "pull", id });
      return Promise.race([answer, aborted]);
    };
    let ahead = ask();
    for (;;) {
      const bytes = await ahead;
      if (bytes === null) return;
      ahead = ask();
      ahead.catch(() => {}); // The consumer may have stopped.
      yield bytes;
    }
  }
}

/** The daemon does not want the job's result any more. */
class AbortedError extends Error {
  override readonly name = "ConversionError";
  readonly code = "ERR_ABORTED";
}

async function pruneJob({ store: root }: PruneJob): Promise<PruneJobResult> {
  const store = await Store.open(root);
  try {
    const { layers, blobs, freedBytes } = await store.prune({ waitMs: PRUNE_WAIT_MS });
    return { layers: layers.length, blobs: blobs.length, freedBytes };
  } finally {
    store.close();
  }
}
