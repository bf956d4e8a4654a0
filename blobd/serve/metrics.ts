import type { Server } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { addStoreMetrics, serveMetrics } from "../metrics/index.ts";

const PREFIX = "blobd_serve_";
/** From what the network's round trip costs to where reads are given up; in seconds. */
const FAULT_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];
/** How often a successor looks whether the one before it has left the address, in ms. */
const ADDRESS_MS = 500;

/** What a service has done since its process began. */
export interface ServiceTotals {
  /** Reads that found their data in the store. */
  readonly hits: number;
  /** Chunks that were fetched, for whatever reason, and their bytes as they came over the line. */
  readonly chunks: number;
  readonly storedBytes: number;
  /** Blobs that are shown now. */
  readonly shown: number;
}

/** What `blobd serve` counts, for Prometheus. */
export class ServeMetrics {
  readonly #registry = new Registry();
  readonly #faults: Histogram<"result">;

  constructor(storeRoot: string) {
    this.#faults = new Histogram({
      name: `${PREFIX}fault_seconds`,
      help: "Reads that had to wait for data, from when they came until it was there (ok) or could not be had (error)",
      labelNames: ["result"],
      buckets: FAULT_BUCKETS,
      registers: [this.#registry],
    });
    addStoreMetrics(this.#registry, PREFIX, storeRoot);
    collectDefaultMetrics({ register: this.#registry, prefix: PREFIX });
  }

  /** A read has waited. */
  fault(seconds: number, isAnswered: boolean): void {
    this.#faults.observe({ result: isAnswered ? "ok" : "error" }, seconds);
  }

  /** Tells these too; they are asked for at each scrape. */
  watch(totals: () => ServiceTotals): void {
    const registers = [this.#registry];
    const count = (name: string, help: string, of: (totals: ServiceTotals) => number) =>
      new Counter({
        name: `${PREFIX}${name}`,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(of(totals()));
        },
      });
    count("hits_total", "Reads that found their data in the store", ({ hits }) => hits);
    count("fetched_chunks_total", "Chunks that were fetched", ({ chunks }) => chunks);
    count("fetched_bytes_total", "Bytes of those as they came over the line", ({ storedBytes }) => storedBytes);
    new Gauge({
      name: `${PREFIX}blobs`,
      help: "Blobs that are shown because they are not complete, or recorded",
      registers,
      collect() {
        this.set(totals().shown);
      },
    });
  }

  /**
   * @param address `host:port`
   * @param isSuccessor the process before may still have the address, until its last thread has ended: then it is waited for
   * @throws the system's error, unless it is waited
   */
  async serve(address: string, isSuccessor: boolean, signal: AbortSignal): Promise<void> {
    const listen = async () => {
      const server: Server = await serveMetrics(this.#registry, address);
      const close = () => {
        server.close();
        server.closeAllConnections();
      };
      if (signal.aborted) close();
      else signal.addEventListener("abort", close, { once: true });
    };
    if (isSuccessor) void this.#listenLater(listen, signal);
    else await listen();
  }

  async #listenLater(listen: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted)
      try {
        return await listen();
      } catch {
        await sleep(ADDRESS_MS, undefined, { signal, ref: false }).catch(() => {});
      }
  }
}
