import { createHash } from "node:crypto";
import { type Digest, SourceError } from "../../formats/oci/index.ts";

/** Content as a descriptor promises it. */
export interface Expected {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
}

export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/**
 * Returns `bytes` when they are what `expected` says.
 * @param what What they are and where they came from, for the error.
 * @throws SourceError ERR_LENGTH or ERR_DIGEST, naming both sides
 */
export function checkContent(bytes: Uint8Array, expected: Expected, what: string): Uint8Array {
  if (bytes.length !== expected.size) throw wrongLength(what, bytes.length, expected.size);
  const found = sha256(bytes);
  if (found !== expected.digest) throw wrongDigest(what, found, expected.digest);
  return bytes;
}

export function wrongLength(what: string, found: number | string, expected: number): SourceError {
  return new SourceError("ERR_LENGTH", `${what}: got ${found} bytes, its manifest says ${expected}`);
}

export function wrongDigest(what: string, found: string, expected: string): SourceError {
  return new SourceError(
    "ERR_DIGEST",
    `${what}: the bytes have the digest ${found}, expected ${expected}; they were damaged or exchanged on the way`,
  );
}

/** Counts and hashes the bytes of one stream as they pass. A chunk that is refused is not counted. */
export class StreamCheck {
  readonly #hash = createHash("sha256");
  readonly #expected: Expected;
  readonly #what: string;
  /** Bytes passed so far. */
  received = 0;

  constructor(expected: Expected, what: string) {
    this.#expected = expected;
    this.#what = what;
  }

  /** @throws SourceError ERR_LENGTH as soon as there are too many bytes */
  add(chunk: Uint8Array): void {
    const received = this.received + chunk.length;
    if (received > this.#expected.size) throw wrongLength(this.#what, `at least ${received}`, this.#expected.size);
    this.received = received;
    this.#hash.update(chunk);
  }

  /** @throws SourceError ERR_LENGTH or ERR_DIGEST */
  finish(): void {
    if (this.received !== this.#expected.size) throw wrongLength(this.#what, this.received, this.#expected.size);
    const found = `sha256:${this.#hash.digest("hex")}`;
    if (found !== this.#expected.digest) throw wrongDigest(this.#what, found, this.#expected.digest);
  }
}
