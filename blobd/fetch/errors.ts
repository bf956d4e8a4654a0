/** A chunk that cannot be had. */
export type FetchErrorCode =
  /** No source has answered in the time that is allowed. */
  | "ERR_FETCH_OFFLINE"
  /** Sources answer, but none with the right bytes, or not for us. */
  | "ERR_FETCH_REFUSED"
  /** The fetcher was closed. */
  | "ERR_FETCH_CLOSED";

/** What a reader is told who waits for a chunk: the message says which chunk, of what, and what every source has said. */
export class FetchError extends Error {
  override readonly name = "FetchError";
  readonly code: FetchErrorCode;

  constructor(code: FetchErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
