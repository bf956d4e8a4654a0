import { Gauge, type Registry } from "prom-client";
import { type StoreSize, storeSize } from "../store/index.ts";

/** Scrapes that come together look at the store once; see `storeSize` for what that costs. In ms. */
const REMEMBER_MS = 1000;

/**
 * How large a store is: looked at when somebody asks.
 * @param prefix of the metrics' names: each daemon tells of its store
 */
export function addStoreMetrics(registry: Registry, prefix: string, storeRoot: string): void {
  let looked: { readonly sizes: Promise<readonly StoreSize[]>; readonly atMs: number } | undefined;
  const look = () => {
    if (looked === undefined || performance.now() - looked.atMs > REMEMBER_MS)
      looked = { sizes: storeSize(storeRoot), atMs: performance.now() };
    return looked.sizes;
  };
  const registers = [registry];
  new Gauge({
    name: `${prefix}store_bytes`,
    help: "Disk that the store's content takes, by kind: blob, or partial for what is fetched piece by piece",
    labelNames: ["kind"],
    registers,
    async collect() {
      for (const { kind, bytes } of await look()) if (bytes !== null) this.set({ kind }, bytes);
    },
  });
  new Gauge({
    name: `${prefix}store_entries`,
    help: "What the store has, by kind: blob, partial, layer, image, hold",
    labelNames: ["kind"],
    registers,
    async collect() {
      for (const { kind, entries } of await look()) this.set({ kind }, entries);
    },
  });
}
