/** FUSE: a server that knows no transport, and what file systems and transports need to work with it. */
export { decodeSetup, type RangeRequest, removeMappings } from "./dax-requests.ts";
export { type DaxWindow, RANGE_BYTES } from "./dax-window.ts";
export { DirentWriter } from "./dirents.ts";
export { findGroups, type SecurityContext, securityContexts } from "./extensions.ts";
export type { FileSystem, Handler, OfferedInit, WantedInit } from "./filesystem.ts";
export { FOR_EVER, putHiddenAttributes } from "./hidden-files.ts";
export { IoVector, MAX_SEGMENTS } from "./io-vector.ts";
export { MAX_PIECES, MappingPieces } from "./mapping-pieces.ts";
export {
  putEntry,
  replyAttr,
  replyEntry,
  replyOffset,
  replyOpen,
  replyStatx,
  replyWritten,
  type Validity,
} from "./replies.ts";
export {
  FuseRequest,
  IN_ARGS,
  INPUT_BYTES,
  NO_REPLY,
  OUT_ARGS,
  OUTPUT_BYTES,
  PARKED,
  type ParkedReply,
} from "./request.ts";
export { FuseServer, MAX_WRITE_BYTES, OPERATIONS, type Operation, type ServerOptions } from "./server/index.ts";
export { FuseSession, SESSION_WORDS } from "./session.ts";
