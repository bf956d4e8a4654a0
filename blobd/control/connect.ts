import { connect, type Socket } from "node:net";
import { join } from "node:path";

/** Where a store's `blobd serve` is asked, unless it was started with another path. */
export function controlSocketPath(storeRoot: string): string {
  return join(storeRoot, "blobd.sock");
}

/** A connection to whoever answers at a path; undefined when nobody does. */
export function tryConnect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", () => resolve(undefined));
  });
}
