import { check } from "./errno.ts";
import { libc } from "./libc.ts";

const CLOCK_REALTIME = 0;
/** `struct timespec` on 64-bit systems: seconds, nanoseconds. */
const timespec = Buffer.alloc(16);

/**
 * The system's time in nanoseconds since 1970 (clock_gettime(2)); JavaScript's own clock has milliseconds.
 * @throws SysError never on Linux
 */
export function realtimeNanos(): bigint {
  check(libc().clock_gettime(CLOCK_REALTIME, timespec), "clock_gettime");
  return timespec.readBigInt64LE(0) * 1_000_000_000n + timespec.readBigInt64LE(8);
}
