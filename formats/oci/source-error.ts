/** What went wrong at a source. */
export type SourceErrorCode =
  /** The source's name or options cannot be understood. */
  | "ERR_BAD_SOURCE"
  | "ERR_NOT_FOUND"
  | "ERR_UNAUTHORIZED"
  /** A credentials file or helper is broken. */
  | "ERR_CREDENTIALS"
  /** The bytes have another sha256 than their name says. */
  | "ERR_DIGEST"
  /** There are more or fewer bytes than announced. */
  | "ERR_LENGTH"
  /** The image exists, but not for the platform asked for. */
  | "ERR_PLATFORM"
  /** The server cannot be reached, breaks off, or keeps failing. */
  | "ERR_NETWORK"
  /** A manifest, config or archive that breaks its format. */
  | "ERR_BAD_MANIFEST"
  /** Well-formed, but not something that can be converted: artifacts, unknown layer types, schema 1. */
  | "ERR_UNSUPPORTED"
  /** More than a stated limit. */
  | "ERR_LIMIT"
  /** A local file cannot be read. */
  | "ERR_IO";

/** A source that cannot be read: the message says what, where, what was found, and what can be done about it. */
export class SourceError extends Error {
  override readonly name = "SourceError";
  readonly code: SourceErrorCode;

  constructor(code: SourceErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The SourceError of a failed file operation, naming the file. */
export function ioError(what: string, error: unknown): SourceError {
  if (error instanceof SourceError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT")
    return new SourceError("ERR_NOT_FOUND", `${what}: no such file or directory`, { cause: error });
  return new SourceError("ERR_IO", `${what}: ${code ?? message}`, { cause: error });
}
