/** What clients and `blobd serve` say to each other. */
export {
  type ControlBlob,
  type ControlEndpoint,
  type FetchedCounts,
  formatControlError,
  formatCounts,
  formatCountsRequest,
  formatServed,
  formatServeRequest,
  MAX_CONTROL_BYTES,
  parseControlRequest,
  parseCounts,
  parseServed,
  type ServedBlob,
  type ServeRequest,
} from "./messages.ts";
