import type { Digest } from "../../formats/oci/index.ts";
import {
  type Answer,
  type Authorization,
  type Connection,
  discard,
  type Endpoint,
  header,
  networkError,
  PassingError,
  RegistryClient,
  SourceError,
  send,
  statusError,
} from "../registry/index.ts";
import type { BlobSource } from "./source.ts";

/** A blob in a repository of a registry, or of a mirror. Logs in by itself, and again when a token has run out. */
export function registrySource(
  endpoint: Endpoint,
  repository: string,
  digest: Digest,
  connection: Omit<Connection, "signal">,
  known?: Authorization,
): BlobSource {
  const client = new RegistryClient(endpoint, repository, connection, known);
  const name = `${endpoint.origin}/${endpoint.prefix}${repository}`;
  return {
    name,
    async *read(offset, bytes, signal) {
      const request = {
        method: "GET",
        path: `blobs/${digest}`,
        headers: rangeOf(offset, bytes),
        what: `blob ${digest}`,
      } as const;
      const answer = await abortable(client.exchange({ ...request, signal }), signal);
      const { statusCode } = answer.response;
      if (statusCode !== 200 && statusCode !== 206) throw await client.refusal(answer, request.what);
      yield* rangeBody(answer, offset, bytes, request.what, signal);
    },
  };
}

/** A blob at a plain URL; no credentials are sent. */
export function urlSource(url: URL, connection: Omit<Connection, "signal">): BlobSource {
  return {
    name: `${url.origin}${url.pathname}`,
    async *read(offset, bytes, signal) {
      const headers = rangeOf(offset, bytes);
      const answer = { url, response: await send({ url, ...connection, headers, signal }) };
      const { statusCode } = answer.response;
      if (statusCode !== 200 && statusCode !== 206) throw await statusError(answer, url.pathname);
      yield* rangeBody(answer, offset, bytes, url.pathname, signal);
    },
  };
}

function rangeOf(offset: number, bytes: number): Record<string, string> {
  return { range: `bytes=${offset}-${offset + bytes - 1}` };
}

/** The answer's body, when it is the range that was asked for. */
async function* rangeBody(
  answer: Answer,
  offset: number,
  bytes: number,
  what: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { url, response } = answer;
  const body = (response.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  try {
    if (response.statusCode === 200)
      throw new SourceError("ERR_UNSUPPORTED", `${what}: ${url.host} does not serve parts of it (Range)`);
    const range = header(response, "content-range") ?? "";
    const match = /^bytes (\d{1,16})-(\d{1,16})\/(?:\d{1,16}|\*)$/.exec(range.trim());
    if (Number(match?.[1]) !== offset || Number(match?.[2]) >= offset + bytes)
      throw new PassingError(
        "ERR_NETWORK",
        `${what}: ${url.host} was asked for bytes ${offset}-${offset + bytes - 1} and sent ${range || "others"}`,
      );
    for (let left = bytes; left > 0; ) {
      // Only reading may fail as a network error; what the consumer throws is its own.
      const { done, value } = await body.next().catch((error: unknown) => {
        throw networkError(url, error, signal);
      });
      if (done) return;
      const piece = value.length > left ? value.subarray(0, left) : value;
      left -= piece.length;
      yield piece;
    }
  } finally {
    discard(response);
  }
}

/** A promise, or the signal's reason when that comes first; the answer that comes too late is given up. */
function abortable(answer: Promise<Answer>, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      reject(signal.reason);
      answer.then(
        ({ response }) => discard(response),
        () => {},
      );
    };
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
