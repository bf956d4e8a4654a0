import { test } from "node:test";
import { tempDir } from "../../builder/testkit/index.ts";
import { bootWithVolume, makeSetting, type Setting, VOLUME } from "./guests.ts";
import type { KindName } from "./kinds.ts";
import type { Workload } from "./place.ts";
import { twoGuests } from "./two-guests.ts";

/** The seed of DAX: so much is read without a page of it cached. */
const LARGE_BYTES = 512 << 20;

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
export function testWorkloads(setting: () => Promise<Setting>, kind: KindName, workloads: readonly Workload[]): void {
  test(`workloads on a volume: ${kind}`, async (t) => {
    const made = await setting();
    const { guest, folder, end } = await bootWithVolume(made, kind, { folderName: kind });
    const place = { guest, volume: VOLUME, folder, dax: kind === "dax-always", largeBytes: LARGE_BYTES, ...made };
    try {
      for (const { name, run } of workloads)
        await t.test(name, (t) => run({ ...place, note: (text) => t.diagnostic(text) }));
    } finally {
      await end();
    }
  });
}

export function testTwoGuests(setting: () => Promise<Setting>, kind: KindName): void {
  test(`two guests on one folder: ${kind}`, async () => twoGuests(await setting(), kind, kind === "dax-always"));
}
