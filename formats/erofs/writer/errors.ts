/**
 * Why a tree has no EROFS form: past a limit of the format, something the format cannot express, or a tree that breaks
 * its own rules (a directory under two names, extents that do not cover the file).
 */
export type ErofsWriteErrorCode = "ERR_LIMIT" | "ERR_UNSUPPORTED" | "ERR_BAD_TREE";

/**
 * A tree that cannot be written, and the path that is in the way.
 *
 * @example new ErofsWriteError("ERR_LIMIT", "/usr/x", "xattr user.a has 70000 bytes, the format holds 65535");
 */
export class ErofsWriteError extends Error {
  override readonly name = "ErofsWriteError";
  readonly code: ErofsWriteErrorCode;
  /** Absolute path inside the tree, escaped to printable ASCII; empty when no single path is to blame. */
  readonly path: string;
  /** What was found and what the format holds. */
  readonly detail: string;

  constructor(code: ErofsWriteErrorCode, path: string, detail: string) {
    super(path === "" ? detail : `${path}: ${detail}`);
    this.code = code;
    this.path = path;
    this.detail = detail;
  }
}
