/** What daemons tell Prometheus: where it is scraped, and what all of them tell. */
export { serveMetrics } from "./endpoint.ts";
export { addStoreMetrics } from "./store-metrics.ts";
