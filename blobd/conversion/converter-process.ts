import { type ChildProcess, spawn } from "node:child_process";
import { ConversionError } from "./errors.ts";
import type { FromConverter, Job, ToConverter } from "./messages.ts";

/** How converters are started and heard of. */
export interface ConverterSettings {
  /** The `erofsify` program: a JavaScript file. */
  readonly program: string;
  /** Heap of one converter, in MiB; Node's own limit by default. */
  readonly heapMiB?: number | undefined;
  /** Told of things that do not stop a job, and of what a converter wrote to stderr. */
  readonly onWarning: (message: string) => void;
}

/** Bytes of a layer that come through the daemon. */
export type LayerBytes = AsyncIterable<Uint8Array>;

interface Pending {
  readonly bytes: AsyncIterator<Uint8Array> | null;
  readonly kind: string;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** How long a converter that was asked to end may clean up, in ms. */
const END_GRACE_MS = 5000;
/** Longest line of a converter's stderr that is told, in characters. */
const MAX_LINE = 2000;

/**
 * One converter process: hostile layers are parsed there and not in the daemon. It takes several jobs at a time. When it
 * dies, its jobs fail; when the daemon dies, it sees the channel close and ends, leaving nothing half-done visible.
 */
export class ConverterProcess {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #ended: Promise<void>;
  #alive = true;
  #nextId = 1;

  constructor(settings: ConverterSettings) {
    const heap = settings.heapMiB === undefined ? [] : [`--max-old-space-size=${settings.heapMiB}`];
    // Settings of the young generation and of the thread pool as in the erofsify command itself (builder/cli/main.ts).
    const options = ["--min-semi-space-size=16", "--max-semi-space-size=32", ...heap];
    this.#child = spawn(process.execPath, [...options, settings.program, "converter"], {
      env: { ...process.env, UV_THREADPOOL_SIZE: "16" },
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      serialization: "advanced",
    });
    this.#child.on("message", (message: FromConverter) => this.#receive(message, settings.onWarning));
    this.#child.stderr!.on("data", (chunk: Buffer) => settings.onWarning(`converter: ${shown(chunk)}`));
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", (error) => this.#end(error.message, resolve));
      this.#child.once("exit", (status, signal) => this.#end(signal ?? `status ${status}`, resolve));
    });
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** Jobs it has. */
  get load(): number {
    return this.#pending.size;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Resolves when the process is gone. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Runs a job. @throws ConversionError; the reason of `signal`; what reading `bytes` throws */
  run(job: Job, bytes: LayerBytes | null, signal?: AbortSignal): Promise<unknown> {
    signal?.throwIfAborted();
    const id = this.#nextId++;
    const abort = () => this.#send({ type: "abort", id });
    return new Promise((resolve, reject) => {
      if (!this.#alive) throw new ConversionError("ERR_CONVERTER", "the converter has ended");
      this.#pending.set(id, { bytes: bytes?.[Symbol.asyncIterator]() ?? null, kind: job.kind, resolve, reject });
      signal?.addEventListener("abort", abort);
      this.#send({ type: "job", id, job });
    }).finally(() => signal?.removeEventListener("abort", abort));
  }

  /** Lets it end: at once when it has no jobs. */
  async close(): Promise<void> {
    if (!this.#alive) return this.#ended;
    this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), END_GRACE_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  /** Lets this process end though the converter runs. */
  unref(): void {
    this.#child.unref();
  }

  #receive(message: FromConverter, onWarning: (message: string) => void): void {
    switch (message.type) {
      case "ready":
        return;
      case "warning":
        onWarning(message.message);
        return;
      case "pull":
        void this.#feed(message.id);
        return;
      case "done":
        this.#take(message.id)?.resolve(message.result);
        return;
      case "failed":
        this.#take(message.id)?.reject(new ConversionError(message.code, message.message));
    }
  }

  async #feed(id: number): Promise<void> {
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.bytes === null) return;
    try {
      const { done, value } = await pending.bytes.next();
      this.#send({ type: "data", id, bytes: done ? null : value });
    } catch (error) {
      this.#take(id)?.reject(error as Error);
      this.#send({ type: "abort", id });
    }
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    void pending?.bytes?.return?.();
    return pending;
  }

  #send(message: ToConverter): void {
    // Without a callback a channel that closes just now would throw; the exit tells who waits.
    if (this.#alive && this.#child.connected) this.#child.send(message, () => {});
  }

  #end(how: string, resolve: () => void): void {
    this.#alive = false;
    for (const [id, { kind }] of [...this.#pending])
      this.#take(id)?.reject(new ConversionError("ERR_CONVERTER", `the converter ended (${how}) during a ${kind} job`));
    resolve();
  }
}

function shown(chunk: Buffer): string {
  const text = chunk.toString().trim();
  return text.length > MAX_LINE ? `${text.slice(0, MAX_LINE)}…` : text;
}
