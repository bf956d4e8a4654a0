import { getSystemErrorMap } from "node:util";
import { koffi } from "./koffi.ts";

/**
 * A system call that failed.
 *
 * @example new SysError("mount", "ENOTBLK", 15, "/srv/meta.erofs").message === "mount '/srv/meta.erofs': ENOTBLK"
 */
export class SysError extends Error {
  override readonly name = "SysError";
  /** The error's symbolic name, such as `ENOENT`. */
  readonly code: string;
  /** The error's number, positive. */
  readonly errno: number;
  readonly syscall: string;
  /** The file it was about, when there is one. */
  readonly path: string | undefined;

  constructor(syscall: string, code: string, errno: number, path?: string, detail?: string) {
    super(`${syscall}${path === undefined ? "" : ` '${path}'`}: ${code}${detail === undefined ? "" : `: ${detail}`}`);
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
    this.path = path;
  }
}

/** The error the last native call of this thread left in errno. */
export function lastError(syscall: string, path?: string | Uint8Array, detail?: string): SysError {
  const number = koffi().errno();
  const shown = typeof path === "object" ? Buffer.from(path).toString("utf8").replace(/\0$/, "") : path;
  const [code, text] = describe(number);
  return new SysError(syscall, code, number, shown, detail ?? text);
}

/**
 * Passes on a native call's result.
 * @throws SysError when it is negative.
 */
export function check(result: number, syscall: string, path?: string | Uint8Array): number {
  if (result < 0) throw lastError(syscall, path);
  return result;
}

/** Name and text of an error number. Node knows those libuv maps, koffi the rest (ENOTBLK, EUCLEAN …). */
function describe(errno: number): [code: string, text: string | undefined] {
  const known = getSystemErrorMap().get(-errno);
  if (known !== undefined) return known;
  const name = Object.entries(koffi().os.errno).find(([, value]) => value === errno)?.[0];
  return [name ?? `errno ${errno}`, undefined];
}
