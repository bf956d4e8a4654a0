/** Sockets by which other processes ask a daemon for something. */
export { controlSocketPath, tryConnect } from "./connect.ts";
export { type Attendant, LineSocket } from "./line-socket.ts";
export { linesOf } from "./lines.ts";
