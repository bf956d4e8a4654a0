import { test } from "node:test";
import { tempDir } from "../../builder/testkit/index.ts";
import { bootWithVolume, makeSetting, type Setting } from "./guests.ts";
import type { KindName } from "./kinds.ts";
import type { Workload } from "./place.ts";
import { SHORT, type Sizes } from "./sizes.ts";
import { twoGuests } from "./two-guests.ts";

/** What guests of a test file need, made at the first use. */
export function settingOnce(): () => Promise<Setting> {
  const work = tempDir();
  let setting: Promise<Setting> | undefined;
  return () => {
    setting ??= makeSetting(work);
    return setting;
  };
}

/** One guest does these workloads, each a test. */
export function testWorkloads(
  setting: () => Promise<Setting>,
  kind: KindName,
  workloads: readonly Workload[],
  sizes: Sizes = SHORT,
): void {
  test(`workloads on a volume: ${kind}`, async (t) => {
    const place = await bootWithVolume(await setting(), kind, { folderName: kind });
    try {
      for (const { name, run } of workloads)
        await t.test(name, (t) => run({ ...place, sizes, note: (text) => t.diagnostic(text) }));
    } finally {
      await place.end();
    }
  });
}

export function testTwoGuests(setting: () => Promise<Setting>, kind: KindName): void {
  test(`two guests on one folder: ${kind}`, async (t) =>
    twoGuests(await setting(), kind, (text) => t.diagnostic(text)));
}
