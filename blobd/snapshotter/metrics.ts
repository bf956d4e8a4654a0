import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { addStoreMetrics } from "../metrics/index.ts";

const PREFIX = "blobd_snapshotter_";

/** What is counted, for Prometheus. */
export class Metrics {
  readonly registry = new Registry();
  readonly calls: Histogram<"method" | "code">;
  readonly conversions: Histogram<"cached">;
  readonly convertedBytes: Counter;
  readonly mounts: Histogram<"backing">;
  readonly served: Counter<"how">;

  /** @param snapshots counts them when somebody asks; likewise the layers in work, and what was fetched of served images */
  constructor(
    storeRoot: string,
    snapshots: () => Readonly<Record<string, number>>,
    jobs: () => number,
    fetchedBytes: () => Promise<number>,
  ) {
    const registers = [this.registry];
    const buckets = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60];
    this.calls = new Histogram({
      name: "blobd_snapshotter_call_seconds",
      help: "Calls of containerd's, by method and gRPC code",
      labelNames: ["method", "code"],
      buckets,
      registers,
    });
    this.conversions = new Histogram({
      name: "blobd_snapshotter_conversion_seconds",
      help: "Layers brought into the store; cached: it had them",
      labelNames: ["cached"],
      buckets,
      registers,
    });
    this.convertedBytes = new Counter({
      name: "blobd_snapshotter_converted_bytes_total",
      help: "Uncompressed bytes of the layers that were converted",
      registers,
    });
    this.mounts = new Histogram({
      name: "blobd_snapshotter_mount_seconds",
      help: "Images merged and mounted below containers, by what the kernel reads: file or loop",
      labelNames: ["backing"],
      buckets,
      registers,
    });
    this.served = new Counter({
      name: "blobd_snapshotter_served_images_total",
      help: "Images that were not pulled, by how their converted form was found: index or referrer",
      labelNames: ["how"],
      registers,
    });
    new Gauge({
      name: "blobd_snapshotter_served_fetched_bytes",
      help: "What blobd serve has fetched of the images in use that are served, as it came over the line",
      registers,
      async collect() {
        this.set(await fetchedBytes());
      },
    });
    new Gauge({
      name: "blobd_snapshotter_snapshots",
      help: "Snapshots by kind",
      labelNames: ["kind"],
      registers,
      collect() {
        for (const [kind, count] of Object.entries(snapshots())) this.set({ kind }, count);
      },
    });
    new Gauge({
      name: "blobd_snapshotter_jobs",
      help: "Jobs that the converters have",
      registers,
      collect() {
        this.set(jobs());
      },
    });
    addStoreMetrics(this.registry, PREFIX, storeRoot);
    collectDefaultMetrics({ register: this.registry, prefix: PREFIX });
  }
}
