/** What Prometheus is told. No image names: they are without bound. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Database } from "../database/index.ts";
import { countByStatus, STATUSES } from "../queue/index.ts";

const SECONDS_BUCKETS = [0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

export class JobMetrics {
  readonly registry = new Registry();
  /** Pushes that registries told of. */
  readonly events: Counter<"origin">;
  readonly lookups: Counter<"verdict">;
  readonly failures: Counter<"code">;
  readonly #seconds: Histogram;
  readonly #bytes: Counter<"side">;

  constructor(db: Database) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.events = new Counter({
      name: "erofsify_job_events_total",
      help: "Requests and pushes that were taken in, by who told of them.",
      labelNames: ["origin"],
      registers,
    });
    this.lookups = new Counter({
      name: "erofsify_job_lookups_total",
      help: "Requests that were looked up in this process, by what became of them.",
      labelNames: ["verdict"],
      registers,
    });
    this.failures = new Counter({
      name: "erofsify_job_failures_total",
      help: "Attempts that failed in this process, by error code.",
      labelNames: ["code"],
      registers,
    });
    this.#seconds = new Histogram({
      name: "erofsify_job_conversion_seconds",
      help: "What successful conversions of this process took.",
      buckets: SECONDS_BUCKETS,
      registers,
    });
    this.#bytes = new Counter({
      name: "erofsify_job_bytes_total",
      help: "Bytes of converted images: as the source has them, and as converted.",
      labelNames: ["side"],
      registers,
    });
    new Gauge({
      name: "erofsify_job_conversions",
      help: "Conversions in the queue's database, by status.",
      labelNames: ["status"],
      registers,
      async collect() {
        const counts = await countByStatus(db);
        for (const status of STATUSES) this.set({ status }, counts.get(status) ?? 0);
      },
    });
  }

  /** A conversion succeeded. */
  converted(seconds: number, sourceBytes: number, targetBytes: number): void {
    this.#seconds.observe(seconds);
    this.#bytes.inc({ side: "source" }, sourceBytes);
    this.#bytes.inc({ side: "target" }, targetBytes);
  }
}
