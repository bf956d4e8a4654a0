/** Takes jobs and works on them: lookups in this process, each conversion in a process of its own. */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Logger } from "pino";
import type { JobMetrics } from "../metrics/index.ts";
import {
  type Beat,
  beat,
  CHANNEL,
  CONVERSIONS,
  type Failure,
  fail,
  forget,
  giveBackLost,
  type Held,
  LOOKUP_TIMEOUT_SECONDS,
  LOOKUPS,
  type Phase,
  pushTargets,
  type QueueContext,
  referenceText,
  succeed,
  take,
} from "../queue/index.ts";
import { convertInChild } from "./convert-child.ts";
import { lookUp } from "./lookup.ts";
import { isPermanent } from "./permanent.ts";
import { pruneStore } from "./prune-store.ts";
import { Slots } from "./slots.ts";

export interface WorkerOptions {
  readonly storeRoot: string;
  /** Conversions at once. */
  readonly conversions: number;
  readonly log: Logger;
  readonly metrics: JobMetrics;
}

const LOOKUPS_AT_ONCE = 4;
/** How often the queue is looked at when nobody says that there is something in it. */
const POLL_MS = 2000;
const BEAT_MS = 2000;
const SWEEP_MS = 5000;
/** Sweeps that were further apart say that something stood still. */
const MOST_PAUSE_MS = 2 * SWEEP_MS;
const FORGET_MS = 3_600_000;

/** A job under way. */
interface Work {
  readonly held: Held;
  readonly controller: AbortController;
  progress: { phase?: Phase; doneBytes?: number; totalBytes?: number };
}

/** Reasons to end a job's work, as its AbortSignal carries them. */
class Cancelled extends Error {
  readonly code = "ERR_CANCELLED";
}
class Stopped extends Error {
  readonly code = "ERR_WORKER_STOPPED";
}
class TimedOut extends Error {
  readonly code = "ERR_TIMEOUT";
}
class Lost extends Error {
  readonly code = "ERR_LEASE_LOST";
}

export class Worker {
  /** `host/pid/…`, new with every start: what was held by the one before is not mine. */
  readonly name = `${hostname()}/${process.pid}/${randomBytes(3).toString("hex")}`;
  readonly #context: QueueContext;
  readonly #options: WorkerOptions;
  readonly #log: Logger;
  readonly #work = new Set<Work>();
  readonly #slots: readonly Slots[];
  readonly #timers: NodeJS.Timeout[] = [];
  #stopping = false;

  constructor(context: QueueContext, options: WorkerOptions) {
    this.#context = context;
    this.#options = options;
    this.#log = options.log.child({ worker: this.name });
    const onError = (error: unknown) => this.#log.error({ err: error }, "the queue cannot be read");
    this.#slots = [
      new Slots(LOOKUPS_AT_ONCE, () => this.#take(LOOKUPS), onError),
      new Slots(options.conversions, () => this.#take(CONVERSIONS), onError),
    ];
  }

  /** How many jobs are under way. */
  get busy(): number {
    return this.#work.size;
  }

  async start(): Promise<void> {
    const { db, settings } = this.#context;
    // Nobody else can hold anything in an embedded database: what is held was held by the process before this one.
    if (db.exclusive) await giveBackLost(this.#context, 0);
    await db.listen(CHANNEL, () => this.#wake());
    this.#every(POLL_MS, async () => this.#wake());
    this.#every(BEAT_MS, () => this.#beat());
    let lastMs = performance.now();
    this.#every(SWEEP_MS, async () => {
      // After the database was away nobody could say that he is alive: first let them.
      await db.query("SELECT 1");
      const pauseMs = performance.now() - lastMs;
      lastMs = performance.now();
      if (pauseMs > MOST_PAUSE_MS) return;
      const lost = await giveBackLost(this.#context);
      if (lost > 0) this.#log.warn({ lost }, "jobs of workers that are gone are tried again");
    });
    this.#every(FORGET_MS, async () => void (await forget(db, settings.keepDays)));
    this.#wake();
  }

  /** Takes nothing new, gives what is under way `graceMs` to end, and gives the rest back to the queue. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    for (const slots of this.#slots) slots.close();
    const idle = Promise.all(this.#slots.map((slots) => slots.idle()));
    const timer = setTimeout(() => {
      for (const { controller } of this.#work) controller.abort(new Stopped("the worker was stopped"));
    }, graceMs);
    await idle;
    clearTimeout(timer);
    for (const one of this.#timers) clearInterval(one);
  }

  #every(ms: number, action: () => Promise<void>): void {
    let running = false;
    const timer = setInterval(async () => {
      if (running) return;
      running = true;
      await action().catch((error) => this.#log.error({ err: error }, "the queue cannot be reached"));
      running = false;
    }, ms);
    this.#timers.push(timer);
  }

  #wake(): void {
    for (const slots of this.#slots) slots.fill();
    // Somebody may want a job cancelled.
    if (this.#work.size > 0)
      this.#beat().catch((error) => this.#log.error({ err: error }, "the queue cannot be reached"));
  }

  async #take(queue: typeof LOOKUPS | typeof CONVERSIONS): Promise<(() => Promise<void>) | undefined> {
    if (this.#stopping) return undefined;
    const held = await take(this.#context, queue, this.name);
    return held && (() => this.#run(held));
  }

  async #run(held: Held): Promise<void> {
    const work: Work = { held, controller: new AbortController(), progress: {} };
    this.#work.add(work);
    const lookup = held.status === "looking";
    const seconds = lookup ? LOOKUP_TIMEOUT_SECONDS : this.#context.settings.timeoutSeconds;
    const timer = setTimeout(
      () => work.controller.abort(new TimedOut(`took longer than ${seconds} s`)),
      seconds * 1000,
    );
    const log = this.#log.child({ id: held.id, image: referenceText(held), attempt: held.attempt });
    try {
      await (lookup ? this.#lookUp(work, log) : this.#convert(work, log));
    } catch (error) {
      await this.#failed(work, error, log);
    } finally {
      clearTimeout(timer);
      this.#work.delete(work);
    }
    if (!lookup) await this.#prune(log);
  }

  /** Keeps the store small. The slot is still taken meanwhile: with one slot nobody converts while it is pruned. */
  async #prune(log: Logger): Promise<void> {
    const { storeMaxSize } = this.#context.settings;
    if (storeMaxSize === undefined || this.#stopping) return;
    if ([...this.#work].some(({ held }) => held.status === "running")) return;
    log.info({ result: await pruneStore(this.#options.storeRoot, storeMaxSize) }, "store pruned");
  }

  async #lookUp({ held, controller }: Work, log: Logger): Promise<void> {
    const verdict = await lookUp(this.#context, held, controller.signal);
    this.#options.metrics.lookups.inc({ verdict });
    log.info({ verdict }, "looked up");
  }

  async #convert(work: Work, log: Logger): Promise<void> {
    const { held, controller } = work;
    const { settings } = this.#context;
    const { registry, repository, digest, tag, form, verity } = held;
    const startMs = performance.now();
    log.info("converting");
    const result = await convertInChild(
      {
        source: referenceText({ registry, repository, digest }),
        sourceTag: tag,
        form,
        verity,
        targets: pushTargets(held),
        storeRoot: this.#options.storeRoot,
        ...(settings.maxLayerMiB !== undefined && { maxBlobBytes: settings.maxLayerMiB * 2 ** 20 }),
      },
      {
        memoryMiB: settings.memoryMiB,
        signal: controller.signal,
        onProgress: (phase, doneBytes, totalBytes) => {
          work.progress = { phase, doneBytes, totalBytes };
        },
        onWarning: (message) => log.warn(message),
      },
    );
    const seconds = (performance.now() - startMs) / 1000;
    if (!(await succeed(this.#context, held, result))) return log.warn("converted, but the job was given to another");
    this.#options.metrics.converted(seconds, result.sourceBytes, result.targetBytes);
    log.info({ seconds, sourceBytes: result.sourceBytes, targetBytes: result.targetBytes }, "converted");
  }

  async #failed({ held, controller }: Work, error: unknown, log: Logger): Promise<void> {
    const cause = controller.signal.aborted ? controller.signal.reason : error;
    const { code, message } = cause as { code?: unknown; message?: string };
    const failure: Failure = {
      code: typeof code === "string" ? code : "ERR_INTERNAL",
      message: message ?? String(cause),
      permanent: isPermanent(code),
      free: cause instanceof Stopped,
      outdated: code === "ERR_MOVED",
    };
    this.#options.metrics.failures.inc({ code: failure.code });
    log.warn({ code: failure.code, reason: failure.message }, "failed");
    // What cannot be told is found out by the silence.
    await fail(this.#context, held, failure).catch((reason) =>
      log.error({ err: reason }, "the queue cannot be reached"),
    );
  }

  /** Says that this worker is alive, and hears what is to be cancelled. */
  async #beat(): Promise<void> {
    const works = [...this.#work];
    if (works.length === 0) return;
    const beats: Beat[] = works.map(({ held, progress }) => ({ id: held.id, attempt: held.attempt, ...progress }));
    const known = await beat(this.#context, this.name, beats);
    for (const work of works) {
      const { held, controller } = work;
      const cancel = known.get(held.id);
      if (cancel) controller.abort(new Cancelled("was cancelled"));
      // The row is gone or somebody else's; unless this work has just told its end itself.
      else if (cancel === undefined && this.#work.has(work)) controller.abort(new Lost("the job was given to another"));
    }
  }
}
