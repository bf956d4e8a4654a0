/** One blob as a stream that survives what happens to long downloads. */
import { type Digest, SourceError } from "../../formats/oci/index.ts";
import type { RegistryClient } from "./client.ts";
import { type Answer, discard, header, networkError, send } from "./http.ts";
import type { Connection } from "./login.ts";
import { Attempts, PassingError, type RetryPolicy } from "./retry.ts";
import { statusError } from "./status.ts";
import { StreamCheck, wrongLength } from "./verify.ts";
import { receivedYoung } from "./young-buffers.ts";

/** What is fetched. */
export interface BlobRequest {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  /** For errors: image and digest. */
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((receivedBytes: number) => void) | undefined;
}

/** Opens the blob from a byte on; the answer may be 200 with all of it, or 206. */
export type BlobOpener = (offset: number) => Promise<Answer>;

/** So much more of a blob forgives earlier failures: a server cannot keep us by feeding single bytes. */
const PROGRESS_BYTES = 1 << 20;

/** Opens a blob at a registry. */
export function registryOpener(client: RegistryClient, { digest, what }: BlobRequest): BlobOpener {
  return (offset) => client.get(`blobs/${digest}`, rangeHeader(offset), what);
}

/** Opens a blob at a plain URL, as foreign layers name them; no credentials are sent. */
export function urlOpener(url: URL, connection: Connection, { what }: BlobRequest): BlobOpener {
  return async (offset) => {
    const answer = { url, response: await send({ url, ...connection, headers: rangeHeader(offset) }) };
    const { statusCode } = answer.response;
    if (statusCode === 200 || statusCode === 206) return answer;
    throw await statusError(answer, what);
  };
}

function rangeHeader(offset: number): Record<string, string> {
  return offset === 0 ? {} : { range: `bytes=${offset}-` };
}

/**
 * The blob's bytes from one of several places, taken in turn when one fails for good. A broken transfer goes on where it
 * stopped. The digest is checked before the last `next()` ends.
 *
 * @throws SourceError
 */
export async function* downloadBlob(
  openers: readonly BlobOpener[],
  request: BlobRequest,
  retry: RetryPolicy,
): AsyncGenerator<Uint8Array, void, undefined> {
  const check = new StreamCheck(request, request.what);
  for (const [i, open] of openers.entries()) {
    try {
      yield* fromOne(open, check, request, retry);
      break;
    } catch (error) {
      if (!(error instanceof SourceError) || i === openers.length - 1) throw error;
    }
  }
  check.finish();
}

async function* fromOne(
  open: BlobOpener,
  check: StreamCheck,
  request: BlobRequest,
  retry: RetryPolicy,
): AsyncGenerator<Uint8Array, void, undefined> {
  const attempts = new Attempts(retry, request.signal);
  for (let from = check.received; ; from = check.received) {
    try {
      const answer = await open(from);
      yield* pass(answer, startOf(answer, from, request), check, request);
      if (check.received >= request.size) return;
      throw new PassingError(
        "ERR_LENGTH",
        `${wrongLength(request.what, check.received, request.size).message}: the body from ${answer.url.host} ended early`,
      );
    } catch (error) {
      if (check.received - from >= PROGRESS_BYTES) attempts.progressed();
      await attempts.failed(error);
    }
  }
}

/** Where in the blob the answer's body starts: at `from` when the server honours ranges, else at 0. */
function startOf({ url, response }: Answer, from: number, { size, what }: BlobRequest): number {
  let start = 0;
  let total = Number(header(response, "content-length") ?? Number.NaN);
  if (response.statusCode === 206) {
    const range = header(response, "content-range") ?? "";
    const match = /^bytes (\d{1,16})-\d{1,16}\/(\d{1,16}|\*)$/.exec(range.trim());
    if (Number(match?.[1]) !== from) {
      discard(response);
      throw new PassingError(
        "ERR_NETWORK",
        `${what}: ${url.host} was asked for bytes from ${from} on and sent ${range || "others"}`,
      );
    }
    start = from;
    total = Number(match?.[2]);
  }
  if (!Number.isNaN(total) && total !== size) {
    discard(response);
    throw wrongLength(what, total, size);
  }
  return start;
}

/** Hands on the body's bytes, without those that were delivered before. */
async function* pass(
  { url, response }: Answer,
  start: number,
  check: StreamCheck,
  { signal, onProgress }: BlobRequest,
): AsyncGenerator<Uint8Array, void, undefined> {
  let skip = check.received - start;
  const chunks = (response.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  try {
    for (;;) {
      // Only reading may fail as a network error; what the consumer throws is its own.
      const { done, value } = await chunks.next().catch((error: unknown) => {
        throw networkError(url, error, signal);
      });
      if (done) return;
      if (skip >= value.length) {
        skip -= value.length;
        continue;
      }
      const fresh = skip === 0 ? value : value.subarray(skip);
      skip = 0;
      check.add(fresh);
      receivedYoung(fresh.length);
      onProgress?.(check.received);
      yield fresh;
    }
  } finally {
    discard(response);
  }
}
