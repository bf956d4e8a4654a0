/** The queue of conversions: pg-boss and the service's own table in one database, changed together. */
export { CONVERSIONS, LOOKUPS } from "./boss.ts";
export { CHANNEL, LOOKUP_TIMEOUT_SECONDS, type QueueContext } from "./context.ts";
export {
  type Conversion,
  isFinal,
  type Origin,
  type Phase,
  referenceText,
  STATUSES,
  type Status,
} from "./conversion.ts";
export { type Beat, beat, type Held, LEASE_SECONDS, take } from "./holding.ts";
export { countByStatus, find, follow, forget, type ListOptions, list, MAX_LISTED } from "./listing.ts";
export { enqueue, findDone, ignore, type Target } from "./lookups.ts";
export { giveBackLost } from "./lost.ts";
export { type OpenedQueue, openQueue } from "./open.ts";
export { type Failure, fail, type Result, succeed } from "./outcomes.ts";
export { type Ask, ask, cancel, retry } from "./requests.ts";
export { type PushTarget, pushTargets } from "./targets.ts";
