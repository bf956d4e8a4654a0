/** The vhost-user protocol as bytes: requests, their shapes and limits, messages, the in-flight region. */
export { DescState, QUEUE_REGION_VERSION, QueueRegion, queueRegionBytes } from "./inflight-region.ts";
export * from "./limits.ts";
export * from "./messages.ts";
export { checkApart, decodeMemoryTable, decodeSingleRegion, encodeRegion, type Region } from "./regions.ts";
export { BackendRequest, F_PROTOCOL_FEATURES, FsRequest, ProtocolFeature, Request } from "./requests.ts";
export { decodeRequest, type RequestHeader } from "./shapes.ts";
