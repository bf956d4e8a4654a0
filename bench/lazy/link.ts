/** A network between this host and a registry that runs on it: bandwidth and delay of a line, in a TCP proxy. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface LinkOptions {
  /** From the registry to here, all connections together. */
  readonly bytesPerSecond: number;
  /** There and back, in ms. */
  readonly roundTripMs: number;
}

export interface Link {
  /** `127.0.0.1:PORT`, in place of the registry's. */
  readonly host: string;
  stop(): void;
}

/** Bytes that are on the way in one connection, at most: TCP's window. */
const WINDOW_BYTES = 4 << 20;

/** @param target `127.0.0.1:PORT` */
export async function startLink(target: string, { bytesPerSecond, roundTripMs }: LinkOptions): Promise<Link> {
  const [address, port] = target.split(":") as [string, string];
  const sockets = new Set<Socket>();
  /** When the line has sent all that it was given so far. */
  let sentMs = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), address);
    for (const socket of [client, upstream]) {
      sockets.add(socket.setNoDelay());
      socket.on("error", () => {});
      socket.once("close", () => sockets.delete(socket));
    }
    forward(client, upstream, () => performance.now() + roundTripMs / 2);
    forward(upstream, client, (bytes) => {
      sentMs = Math.max(sentMs, performance.now()) + (bytes / bytesPerSecond) * 1000;
      return sentMs + roundTripMs / 2;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, stop };
}

/** @param arrivesMs when a piece that is sent now arrives, on performance.now()'s clock; never before an earlier one */
function forward(from: Socket, to: Socket, arrivesMs: (bytes: number) => number): void {
  const underWay: { readonly atMs: number; readonly piece: Buffer | undefined }[] = [];
  let bytes = 0;
  const deliver = () => {
    for (let first = underWay[0]; first !== undefined; first = underWay[0]) {
      const waitMs = first.atMs - performance.now();
      if (waitMs > 0) return void setTimeout(deliver, Math.ceil(waitMs));
      underWay.shift();
      if (first.piece === undefined) return void to.end();
      bytes -= first.piece.length;
      if (bytes < WINDOW_BYTES) from.resume();
      if (!to.destroyed) to.write(first.piece);
    }
  };
  const send = (piece: Buffer | undefined) => {
    underWay.push({ atMs: arrivesMs(piece?.length ?? 0), piece });
    bytes += piece?.length ?? 0;
    if (bytes >= WINDOW_BYTES) from.pause();
    if (underWay.length === 1) deliver();
  };
  from.on("data", send).once("close", () => send(undefined));
}
