import { availableParallelism } from "node:os";
import { ConverterProcess, type ConverterSettings, type LayerBytes } from "./converter-process.ts";
import { ConversionError } from "./errors.ts";
import type { JobKind, JobResult, Jobs } from "./messages.ts";

/** Jobs that do work on bytes and wait their turn; merging and pruning is short and does not. */
const HEAVY: ReadonlySet<JobKind> = new Set(["layer", "directory", "flat", "diff"]);

export interface PoolSize {
  /** Processes; default one for two processors, as erofsify has threads. */
  readonly processes?: number;
  /** Layers converted at once; default one a processor, at least 2. */
  readonly jobs?: number;
}

/**
 * Converter processes, kept alive: the start of one and the compilation of its code take longer than many a layer. A
 * process that died is replaced when the next job comes.
 */
export class ConverterPool {
  readonly #settings: ConverterSettings;
  readonly #processes: number;
  readonly #maxHeavy: number;
  #converters: ConverterProcess[] = [];
  #heavy = 0;
  #waiting: (() => void)[] = [];
  #closed = false;

  /** Starts one process, so that the first job finds it warm. */
  constructor(settings: ConverterSettings, size: PoolSize = {}) {
    const processors = availableParallelism();
    this.#settings = settings;
    this.#processes = size.processes ?? Math.max(1, Math.floor(processors / 2));
    this.#maxHeavy = size.jobs ?? Math.max(2, processors);
    this.#start();
  }

  /** Jobs in work. */
  get load(): number {
    return this.#converters.reduce((sum, { load }) => sum + load, 0);
  }

  /** Process ids, for those who look after processes. */
  get pids(): number[] {
    return this.#converters.flatMap(({ pid, alive }) => (alive && pid !== undefined ? [pid] : []));
  }

  /**
   * Runs a job on the process that has the least to do.
   * @param bytes the layer, when it comes through us
   * @throws ConversionError; the reason of `signal`; what reading `bytes` throws
   */
  async run<K extends JobKind>(
    job: Jobs[K][0] & { readonly kind: K },
    options: { readonly bytes?: LayerBytes; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<JobResult<K>> {
    const heavy = HEAVY.has(job.kind);
    if (heavy) await this.#turn();
    try {
      options.signal?.throwIfAborted();
      return (await this.#pick().run(job, options.bytes ?? null, options.signal)) as JobResult<K>;
    } finally {
      if (heavy) this.#release();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#converters.map((converter) => converter.close()));
  }

  #pick(): ConverterProcess {
    if (this.#closed) throw new ConversionError("ERR_CONVERTER", "the converters have ended");
    this.#converters = this.#converters.filter(({ alive }) => alive);
    const best = this.#converters.reduce<ConverterProcess | undefined>(
      (least, one) => (least === undefined || one.load < least.load ? one : least),
      undefined,
    );
    const mayGrow = this.#converters.length < this.#processes;
    return best === undefined || (best.load > 0 && mayGrow) ? this.#start() : best;
  }

  #start(): ConverterProcess {
    const converter = new ConverterProcess(this.#settings);
    this.#converters.push(converter);
    return converter;
  }

  async #turn(): Promise<void> {
    if (this.#heavy < this.#maxHeavy) this.#heavy++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Hands the place on to who waits, else frees it. */
  #release(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) next();
    else this.#heavy--;
  }
}
