/** Exit codes, the same as erofsify's, and how an error is told. */
import { CommanderError } from "commander";

export const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** A mistake in how the command was called. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "ERR_USAGE";
}

/** The exit code that fits an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  return isUsage(error) ? EXIT.usage : EXIT.failed;
}

/** Tells an error on stderr in one line; a mistake of ours (an error without a code) with its stack. */
export function reportError(error: unknown): void {
  if (error instanceof CommanderError) return; // Commander has told it already, or it was --help.
  const { code, message, stack } = error as { code?: unknown; message?: string; stack?: string };
  const isTold = isUsage(error) || (typeof code === "string" && /^E[A-Z0-9_]+$/.test(code));
  process.stderr.write(`blobd: ${isTold ? message : (stack ?? message ?? String(error))}\n`);
}

/** Options out of range come as RangeError from where they are used. */
function isUsage(error: unknown): boolean {
  return error instanceof UsageError || error instanceof RangeError;
}
