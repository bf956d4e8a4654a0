import { struct } from "../bytes/index.ts";

/**
 * What a back-end has in its hands, kept in memory that outlives it. The vhost-user specification, "Inflight I/O
 * tracking". One region a queue:
 *
 * ```
 *  QueueRegion │ desc[0] │ … │ desc[queue size - 1]
 * ```
 * A request is entered (`counter`, then `inflight`) when it is taken from the available ring, and struck out after the used
 * ring's index has been moved: between the two, `lastBatchHead` and `usedIdx` tell which one that was.
 */
export const QueueRegion = struct("QueueRegionSplit", 16, {
  features: "u64",
  version: "u16",
  descNum: "u16",
  lastBatchHead: "u16",
  usedIdx: "u16",
});
export const QUEUE_REGION_VERSION = 1;

export const DescState = struct("DescStateSplit", 16, {
  inflight: "u8",
  padding: "bytes5",
  next: "u16",
  counter: "u53",
});

/** Bytes of a queue's region, rounded so that the next one starts on a cache line. */
export function queueRegionBytes(queueSize: number): number {
  return Math.ceil((QueueRegion.size + queueSize * DescState.size) / 64) * 64;
}
