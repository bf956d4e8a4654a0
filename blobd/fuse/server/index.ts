/**
 * The FUSE server: one request decoded in place, one handler called, one status returned. A transport moves the bytes.
 */
export { MAX_WRITE_BYTES } from "./init.ts";
export { NameKind, OPERATIONS, type Operation, Tail } from "./operations.ts";
export { FuseServer, type ServerOptions } from "./server.ts";
