/** Counters and gauges of the service. */
export { JobMetrics } from "./metrics.ts";
