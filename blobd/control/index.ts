/** Sockets by which other processes ask a daemon for something. */
export { type Attendant, LineSocket } from "./line-socket.ts";
export { linesOf } from "./lines.ts";
