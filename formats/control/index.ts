/** What clients and `blobd serve` say to each other. */
export {
  type ControlBlob,
  type ControlEndpoint,
  formatControlError,
  formatServed,
  formatServeRequest,
  MAX_CONTROL_BYTES,
  parseServed,
  parseServeRequest,
  type ServedBlob,
  type ServeRequest,
} from "./messages.ts";
