import type { Item } from "./plan.ts";

/** A time as compact inodes show it: the superblock's epoch and fixed_nsec. */
export interface BuildTime {
  readonly seconds: number;
  readonly nanos: number;
}

/**
 * The most common mtime, so that most inodes can be compact; the earliest of those when there are several. Times before
 * 1970 are passed over: tools before erofs-utils 1.9 read the field unsigned. 1970 itself when no time is left.
 */
export function chooseBuildTime(items: readonly Item[]): BuildTime {
  // Whole seconds are the rule and number keys are quick; other times get a text key.
  const counts = new Map<number | string, { count: number; time: BuildTime }>();
  let best = { count: 0, time: { seconds: 0, nanos: 0 } };
  for (const { inode } of items) {
    const { mtimeSeconds: seconds, mtimeNanos: nanos } = inode;
    if (seconds < 0) continue;
    const key = nanos === 0 ? seconds : `${seconds}.${nanos}`;
    let tally = counts.get(key);
    if (tally === undefined) {
      tally = { count: 0, time: { seconds, nanos } };
      counts.set(key, tally);
    }
    tally.count++;
    if (tally.count > best.count || (tally.count === best.count && isEarlier(tally.time, best.time))) best = tally;
  }
  return best.time;
}

function isEarlier(a: BuildTime, b: BuildTime): boolean {
  return a.seconds < b.seconds || (a.seconds === b.seconds && a.nanos < b.nanos);
}
