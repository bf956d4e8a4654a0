/** Times of files: what sets them, and who may. */
import { chmodSync, lstatSync, lutimesSync, statSync, utimesSync } from "node:fs";
import { setTimes } from "../../../sys/index.ts";
import { ALICE, alices, BOB, type Case, outcome, outcomes, TYPES, type World } from "./world.ts";

/** `UTIME_NOW` and `UTIME_OMIT` of utimensat(2), where nanoseconds go. */
const NOW = { seconds: 0, nanos: 0x3fffffff };
const OMIT = { seconds: 0, nanos: 0x3ffffffe };

export const TIME_CASES: readonly Case[] = [
  ...TYPES.map((type) => ({
    name: `utimensat: a ${type}: to the nanosecond, before 1970, far from now`,
    expected: ["-1000000001", "5000000006", "4294967296000000000", "-2000000000000000000"],
    run: (w: World) => {
      const path = w.make(type, "x");
      setTimes(path, { seconds: -2, nanos: 999_999_999 }, { seconds: 5, nanos: 6 });
      const near = lstatSync(path, { bigint: true });
      setTimes(path, { seconds: 2 ** 32, nanos: 0 }, { seconds: -2e9, nanos: 0 });
      const far = lstatSync(path, { bigint: true });
      return [near.atimeNs, near.mtimeNs, far.atimeNs, far.mtimeNs].map(String);
    },
  })),
  {
    name: "utimensat: UTIME_OMIT leaves a time, UTIME_NOW takes the clock",
    expected: "ok 5 1 true",
    run: (w) => {
      const path = alices(w);
      utimesSync(path, 5, 5);
      const status = outcome(() => setTimes(path, OMIT, { seconds: 1, nanos: 0 }));
      const { atimeMs, mtimeMs } = statSync(path);
      setTimes(path, NOW, OMIT);
      return `${status} ${atimeMs / 1000} ${mtimeMs / 1000} ${Date.now() - statSync(path).atimeMs < 60_000}`;
    },
  },
  {
    name: "utimensat: whoever may write may set the clock's time, only the owner another",
    expected: "ok EPERM | ok ok | EACCES EPERM",
    run: (w) => {
      const path = alices(w, 0o646);
      const both = () =>
        outcomes(
          () => setTimes(path, NOW, NOW),
          () => setTimes(path, { seconds: 1, nanos: 0 }, { seconds: 1, nanos: 0 }),
        );
      const [bob, alice] = [w.as(BOB, both), w.as(ALICE, both)];
      chmodSync(path, 0o644);
      return `${bob} | ${alice} | ${w.as(BOB, both)}`;
    },
  },
  {
    name: "lutimes: a symlink itself, not what it points to",
    expected: [3, 4],
    run: (w) => {
      const path = w.make("symlink", "l");
      lutimesSync(path, 3, 4);
      const { atimeMs, mtimeMs } = lstatSync(path);
      return [atimeMs / 1000, mtimeMs / 1000];
    },
  },
];
