/** The HTTP side of the service. */
export { parseAuthorizationFile } from "../http/index.ts";
export { createHealthServer, createServer, type ServerOptions } from "./server.ts";
