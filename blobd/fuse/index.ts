/** FUSE: a server that knows no transport, and what file systems and transports need to work with it. */
export { type DaxWindow, RANGE_BYTES } from "./dax-window.ts";
export type { FileSystem, Handler, OfferedInit, WantedInit } from "./filesystem.ts";
export { IoVector, MAX_SEGMENTS } from "./io-vector.ts";
export { FuseRequest, IN_ARGS, INPUT_BYTES, OUT_ARGS, OUTPUT_BYTES, PARKED, type ParkedReply } from "./request.ts";
