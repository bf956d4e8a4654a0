import { statfsSync } from "node:fs";
import { dirname } from "node:path";

/**
 * What went wrong with the store: the disk (or quota) is full, a limit set by the caller was reached, no permission,
 * somebody else holds the store, a stored file is not what its name says, or another error of the file system.
 */
export type StoreErrorCode =
  | "ERR_STORE_FULL"
  | "ERR_STORE_LIMIT"
  | "ERR_STORE_ACCESS"
  | "ERR_STORE_BUSY"
  | "ERR_STORE_CORRUPT"
  | "ERR_STORE_IO";

/** Every error the store reports about the world outside; misuse of its API throws plain Errors instead. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: StoreErrorCode;
  /** The file or folder concerned. */
  readonly path: string;

  constructor(code: StoreErrorCode, path: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.path = path;
  }
}

/** An error of a system call on `path` as a StoreError; `neededBytes` is what a failed write still had to store. */
export function storeError(error: unknown, path: string, doing: string, neededBytes = 0): StoreError {
  if (error instanceof StoreError) return error;
  const errno = errnoOf(error);
  switch (errno) {
    case "ENOSPC":
    case "EDQUOT":
      return new StoreError("ERR_STORE_FULL", path, fullMessage(errno, path, doing, neededBytes), error);
    case "EFBIG":
      return new StoreError("ERR_STORE_LIMIT", path, `${doing} ${path}: the file system's file size limit`, error);
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new StoreError("ERR_STORE_ACCESS", path, `${doing} ${path}: no permission (${errno})`, error);
    default:
      return new StoreError("ERR_STORE_IO", path, `${doing} ${path}: ${errno ?? String(error)}`, error);
  }
}

/** The errno name of a system call's error (`ENOENT`), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

function fullMessage(errno: "ENOSPC" | "EDQUOT", path: string, doing: string, neededBytes: number): string {
  const what = errno === "ENOSPC" ? "disk full" : "quota exceeded";
  return `${doing} ${path}: ${what}, needed ${neededBytes} more bytes, ${freeBytes(path)} are free`;
}

function freeBytes(path: string): number | string {
  try {
    const { bavail, bsize } = statfsSync(dirname(path));
    return bavail * bsize;
  } catch {
    return "an unknown number";
  }
}
