import { pino } from "pino";
import { UsageError } from "./exit.ts";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type Logger = import("pino").Logger;

/**
 * The daemon's log: a JSON object a line, on stderr, written at once, so that the last line before an end is there.
 * @throws UsageError for a level that does not exist.
 */
export function createLogger(level: string): Logger {
  if (!(LOG_LEVELS as readonly string[]).includes(level))
    throw new UsageError(`--log-level ${level}: expected ${LOG_LEVELS.join(", ")}`);
  return pino({ level, base: { pid: process.pid } }, pino.destination({ fd: 2, sync: true }));
}
