import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What happens to the bytes of blobs. */
export type RegistryFault =
  | "none"
  /** Connections break at once, whatever is asked. */
  | "down"
  /** Status 500. */
  | "error"
  /** The first half comes, then the connection breaks. */
  | "truncate"
  /** One bit is wrong. */
  | "flip"
  | { readonly bytesPerSecond: number };

/** A registry behind a server that can be made to fail. */
export interface RegistryProxy {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  fault: RegistryFault;
  /** How many blobs' answers the fault is for; after them it is none. */
  times: number;
  /** With a number, whoever asks needs a token that was given out at most so long ago, in ms. */
  tokenMs: number | undefined;
  tokens: number;
  /** Ranges of blobs that were answered as they should be: digest, first byte, byte behind the last. */
  readonly sent: { readonly digest: string; readonly start: number; readonly end: number }[];
  stop(): Promise<void>;
}

/** @param target `127.0.0.1:PORT` of the registry */
export async function startRegistryProxy(target: string): Promise<RegistryProxy> {
  const server = createServer((asked, answer) => {
    answer.on("error", () => {});
    if (proxy.fault === "down") asked.socket.destroy();
    else if (asked.url!.startsWith("/token")) giveToken(proxy, answer);
    else if (!isAllowed(proxy, asked)) refuse(proxy, answer);
    else forward(proxy, target, asked, answer);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy: RegistryProxy = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    fault: "none",
    times: Number.POSITIVE_INFINITY,
    tokenMs: undefined,
    tokens: 0,
    sent: [],
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return proxy;
}

/** A token is the time at which it was given out. */
function giveToken(proxy: RegistryProxy, answer: ServerResponse): void {
  proxy.tokens++;
  answer
    .setHeader("content-type", "application/json")
    .end(JSON.stringify({ token: String(Date.now()), expires_in: 60 }));
}

function isAllowed({ tokenMs }: RegistryProxy, { headers }: IncomingMessage): boolean {
  if (tokenMs === undefined) return true;
  const [, givenMs] = /^Bearer (\d+)$/.exec(headers.authorization ?? "") ?? [];
  return givenMs !== undefined && Date.now() - Number(givenMs) <= tokenMs;
}

function refuse({ host }: RegistryProxy, answer: ServerResponse): void {
  answer.writeHead(401, { "www-authenticate": `Bearer realm="http://${host}/token",service="registry"` }).end();
}

function forward(proxy: RegistryProxy, target: string, asked: IncomingMessage, answer: ServerResponse): void {
  const [host, port] = target.split(":");
  const headers = { ...asked.headers, host: target };
  const upstream = request({ host, port, method: asked.method, path: asked.url, headers }, async (got) => {
    const pieces: Buffer[] = [];
    for await (const piece of got) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces);
    const [, digest] = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(asked.url!) ?? [];
    if (digest === undefined || asked.method !== "GET") answer.writeHead(got.statusCode!, got.headers).end(body);
    else answerBlob(proxy, digest, got, body, answer);
  });
  upstream.on("error", () => answer.destroy());
  asked.pipe(upstream);
}

function answerBlob(
  proxy: RegistryProxy,
  digest: string,
  { statusCode, headers }: IncomingMessage,
  body: Buffer,
  answer: ServerResponse,
): void {
  const fault = proxy.times > 0 ? proxy.fault : "none";
  proxy.times--;
  const [, first] = /^bytes (\d+)-/.exec(headers["content-range"] ?? "") ?? [];
  const start = Number(first);
  if (fault === "none" && first !== undefined) proxy.sent.push({ digest, start, end: start + body.length });
  if (fault === "flip") body[body.length >> 1]! ^= 4;
  answer.writeHead(fault === "error" ? 500 : statusCode!, fault === "error" ? {} : headers);
  if (fault === "error") answer.end();
  else if (fault === "truncate") answer.write(body.subarray(0, body.length >> 1), () => answer.destroy());
  else if (typeof fault === "object") trickle(body, fault.bytesPerSecond, answer);
  else answer.end(body);
}

/** How often a slow answer gets a piece, in ms. */
const PIECE_MS = 50;

function trickle(body: Buffer, bytesPerSecond: number, answer: ServerResponse): void {
  const step = Math.ceil((bytesPerSecond * PIECE_MS) / 1000);
  let at = 0;
  const timer = setInterval(() => {
    if (answer.destroyed) return clearInterval(timer);
    answer.write(body.subarray(at, at + step));
    at += step;
    if (at < body.length) return;
    clearInterval(timer);
    answer.end();
  }, PIECE_MS);
}
