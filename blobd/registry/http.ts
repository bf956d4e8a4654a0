/** One HTTP exchange through undici: proxies, certificate authorities, time limits, and what errors mean. */
import { readFile } from "node:fs/promises";
import { rootCertificates } from "node:tls";
import type { Dispatcher } from "undici";
import { ioError, SourceError } from "../../formats/oci/index.ts";
import { PassingError } from "./retry.ts";
import type { Environment } from "./settings.ts";
import { newAgent } from "./undici.ts";

export type Method = "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE";

export interface HttpRequest {
  readonly url: URL;
  readonly method?: Method;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | undefined;
  /** A PEM file of certificate authorities to trust beside the usual ones. */
  readonly ca?: string | undefined;
  readonly env: Environment;
  /** Longest silence, in ms: before the headers, and between parts of the body. */
  readonly stallMs: number;
  readonly signal?: AbortSignal | undefined;
}

export type HttpResponse = Dispatcher.ResponseData;

/** A response and where it came from, which after redirects is not where the request went. */
export interface Answer {
  readonly url: URL;
  readonly response: HttpResponse;
}

/** Connections are kept and shared by all requests of a thread that need the same agent. */
const agents = new Map<string, Dispatcher>();

/** Taken from the socket while the consumer is busy: stopping and starting it every 64 KiB costs a fifth more time. */
const READ_AHEAD_BYTES = 1 << 20;

/** Never through a proxy, as in Go and curl. */
const NOT_PROXIED = "localhost,127.0.0.1,[::1]";

/**
 * Sends a request. Redirects are not followed.
 * @throws PassingError ERR_NETWORK when another attempt may help, SourceError ERR_NETWORK when not
 */
export async function send(exchange: HttpRequest): Promise<HttpResponse> {
  const { url, method = "GET", headers, body, stallMs, signal } = exchange;
  try {
    const agent = await agentFor(exchange);
    return await agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      // Bytes are hashed as stored: nothing may be packed on the way.
      headers: { "user-agent": "erofsify", "accept-encoding": "identity", ...headers },
      ...(body !== undefined && { body }),
      headersTimeout: stallMs,
      bodyTimeout: stallMs,
      highWaterMark: READ_AHEAD_BYTES,
      ...(signal && { signal }),
    });
  } catch (error) {
    throw networkError(url, error, signal);
  }
}

async function agentFor({ ca, env }: HttpRequest): Promise<Dispatcher> {
  const httpProxy = env.http_proxy ?? env.HTTP_PROXY ?? "";
  const httpsProxy = env.https_proxy ?? env.HTTPS_PROXY ?? "";
  const noProxy = `${env.no_proxy ?? env.NO_PROXY ?? ""},${NOT_PROXIED}`;
  // By what is in the file: an authority that is replaced counts at once.
  const authorities = ca === undefined ? undefined : await readAuthorities(ca);
  const key = JSON.stringify([authorities, httpProxy, httpsProxy, noProxy]);
  let agent = agents.get(key);
  if (agent === undefined) {
    // Setting `ca` replaces Node's list, so the list is put back beside it.
    const tls = authorities && { ca: [...rootCertificates, authorities] };
    agent = newAgent({ httpProxy, httpsProxy, noProxy, ...(tls && { connect: tls, requestTls: tls }) });
    agents.set(key, agent);
  }
  return agent;
}

async function readAuthorities(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw ioError(`certificate authorities ${path}`, error);
  }
}

/** Certificate trouble, by OpenSSL's names: trying again does not help. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_(?:GET|VERIFY)/;
/** What a TLS client says when the other side speaks plain HTTP. */
const NOT_TLS = /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|EPROTO/;
/** Mistakes of configuration, not of the line. A name server that is out of reach is EAI_AGAIN, not ENOTFOUND. */
const LASTING = /^(?:ENOTFOUND|UND_ERR_INVALID_ARG|ERR_INVALID_URL|UND_ERR_HEADERS_OVERFLOW|UND_ERR_NOT_SUPPORTED)$/;

/** What a failed exchange means. An abort stays what it is. */
export function networkError(url: URL, error: unknown, signal?: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof SourceError) return error;
  const code = errorCode(error);
  const what = `${url.origin}: ${describe(code, error)}`;
  if (CERTIFICATE.test(code))
    return new SourceError(
      "ERR_NETWORK",
      `${what}; if the registry's certificate authority is a private one, name its PEM file in NODE_EXTRA_CA_CERTS`,
      { cause: error },
    );
  if (NOT_TLS.test(code))
    return new SourceError("ERR_NETWORK", `${what}; if the registry speaks plain HTTP, use --plain-http`, {
      cause: error,
    });
  if (LASTING.test(code)) return new SourceError("ERR_NETWORK", what, { cause: error });
  return new PassingError("ERR_NETWORK", what, { cause: error });
}

/** The most telling code: connection attempts to several addresses come as one AggregateError. */
function errorCode(error: unknown): string {
  const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown[] };
  if (typeof code === "string" && code !== "") return code;
  if (errors?.[0]) return errorCode(errors[0]);
  return cause ? errorCode(cause) : "";
}

const MEANINGS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (connection refused)",
  ECONNRESET: "the connection was reset",
  ENOTFOUND: "the host name is not known",
  EAI_AGAIN: "the host name cannot be looked up now",
  UND_ERR_CONNECT_TIMEOUT: "no connection in time",
  UND_ERR_HEADERS_TIMEOUT: "no answer in time",
  UND_ERR_BODY_TIMEOUT: "the server stopped sending",
  UND_ERR_SOCKET: "the connection broke off",
};

function describe(code: string, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return MEANINGS[code] ?? (code === "" || message.includes(code) ? message : `${message} (${code})`);
}

/**
 * The whole body, when it is no longer than `limit` bytes.
 * @throws SourceError ERR_LIMIT, ERR_NETWORK
 */
export async function readBody(answer: Answer, limit: number, what: string, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of answer.response.body as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > limit)
        throw new SourceError(
          "ERR_LIMIT",
          `${what}: the answer is longer than ${limit} bytes, the most that is accepted`,
        );
      chunks.push(chunk);
    }
  } catch (error) {
    throw networkError(answer.url, error, signal);
  }
  return Buffer.concat(chunks, length);
}

/** Ends a transfer whose body nobody wants, or not all of it. */
export function discard(response: HttpResponse): void {
  // A body that is destroyed before its end emits an error, which without a listener would end the process.
  response.body.on("error", () => {}).destroy();
}

/** A header that may come once or several times. */
export function header(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}
