/** Exit codes, and how an error is told to the user. */
import { CommanderError } from "commander";

export const EXIT = { ok: 0, failed: 1, usage: 2, source: 3, input: 4, store: 5, interrupted: 130 } as const;

/** A mistake in how the command was called. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "ERR_USAGE";
}

/** The user or the system asked the command to end. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
  readonly code = "ERR_INTERRUPTED";
}

/** An image or file was checked and found wanting; everything has been told already. */
export class CheckFailed extends Error {
  override readonly name = "CheckFailed";
  readonly code = "ERR_CHECK_FAILED";
}

/** Classes of this project's errors that are meant for the user. */
const OURS =
  /^(Format|Document|Source|Store|Sys|ErofsWrite|Layer|Merge|Image|Export|Path|Usage|Vm|Interrupted|Settings|Database)Error$|^CheckFailed$/;

const SOURCE_CODES = new Set(["ERR_NOT_FOUND", "ERR_UNAUTHORIZED", "ERR_NETWORK", "ERR_PLATFORM"]);

/** The exit code that fits an error, by its `code`. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const { code, name } = error as { code?: unknown; name?: unknown };
  if (name === "AbortError" || code === "ERR_INTERRUPTED") return EXIT.interrupted;
  if (typeof code !== "string" || !OURS.test(String(name))) return EXIT.failed;
  if (code === "ERR_USAGE" || code === "ERR_BAD_SOURCE") return EXIT.usage;
  if (SOURCE_CODES.has(code)) return EXIT.source;
  if (
    code === "ERR_EXPORT" ||
    code.startsWith("ERR_DATABASE") ||
    (code.startsWith("ERR_STORE_") && code !== "ERR_STORE_CORRUPT")
  )
    return EXIT.store;
  if (code.startsWith("ERR_") && code !== "ERR_INTERNAL") return EXIT.input;
  return EXIT.failed;
}

/** Tells an error on stderr in one line; a mistake of ours (an error without a code) with its stack. */
export function reportError(error: unknown): void {
  // Commander has told it already, or it was --help.
  if (error instanceof CommanderError) return;
  const { name, code, message, stack } = error as { name?: string; code?: unknown; message?: string; stack?: string };
  // Errors of the system (ENOENT…) and of this project are told by their message.
  const told = typeof code === "string" && (/^E[A-Z0-9]+$/.test(code) || OURS.test(name ?? ""));
  const text = told ? message : (stack ?? message ?? String(error));
  process.stderr.write(`erofsify: ${text}\n`);
}

/** Tells the user of something that does not stop the command. */
export function warn(message: string): void {
  process.stderr.write(`erofsify: warning: ${message}\n`);
}
