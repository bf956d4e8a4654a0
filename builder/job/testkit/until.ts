import { setTimeout as delay } from "node:timers/promises";

/** Waits until something is true, and says what was waited for if that takes too long. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
  everyMs = 50,
): Promise<void> {
  const endMs = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`waited ${timeoutMs / 1000} s until ${what}`);
    await delay(everyMs);
  }
}
