import assert from "node:assert/strict";
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { pageCacheOf, processMemory } from "../../builder/guestkit/index.ts";
import { run } from "../../builder/testkit/index.ts";
import { FSLOAD, type Place, type Workload } from "./place.ts";

const MIB = 1 << 20;
/** Page cache that comes and goes by itself. */
const FLAT_BYTES = 8 * MIB;

/** A large file of the host's is read, by system calls and through a mapping, with the right data. */
export const largeRead: Workload = {
  name: "a large file read, all of it right: the guest caches nothing of it by DAX",
  async run(place) {
    const { guest, volume, folder, fsloadPath, dax, sizes, note } = place;
    const { largeBytes } = sizes;
    await run(fsloadPath, ["fill", join(folder, "large"), String(largeBytes)]);
    await guest.dropCaches();
    const before = await guest.memory();
    await guest.shell(`${FSLOAD} check ${volume}/large ${largeBytes} && ${FSLOAD} mapread ${volume}/large`);
    const growth = (await guest.memory()).cached - before.cached;
    note(`${largeBytes / MIB} MiB read: the guest's Cached grew by ${(growth / MIB).toFixed(1)} MiB`);
    if (dax) assert.ok(growth < FLAT_BYTES, `Cached grew by ${growth} bytes`);
    // Otherwise what is measured would be no measure.
    else assert.ok(growth > largeBytes / 2, `Cached grew by ${growth} bytes`);
    rmSync(join(folder, "large"));
  },
};

/** A large file is written, by dd and by a program whose data can be checked; the memory that takes is told. */
export const largeWrite: Workload = {
  name: "a large file written",
  async run(place) {
    const { guest, volume, folder, fsloadPath, sizes, note } = place;
    const { largeBytes } = sizes;
    await written(
      place,
      "dd",
      `dd if=/dev/zero of=${volume}/dd bs=1M count=${largeBytes / MIB} conv=fsync 2>/dev/null`,
    );
    assert.equal(statSync(join(folder, "dd")).size, largeBytes);
    await guest.shell(`rm ${volume}/dd`);
    const bytes = Math.min(largeBytes, 128 * MIB) + 4096;
    await written(place, "fsload", `${FSLOAD} fill ${volume}/fill ${bytes}`);
    await run(fsloadPath, ["check", join(folder, "fill"), String(bytes)]);
    // Through a mapping, over what is there.
    await guest.shell(`${FSLOAD} mapwrite ${volume}/mapped ${16 * MIB} && ${FSLOAD} randwrite ${volume}/mapped 500`);
    await run(fsloadPath, ["check", join(folder, "mapped"), String(16 * MIB)]);
    note("checked on the host");
  },
};

async function written({ guest, note, daxNew, folder }: Place, name: string, script: string): Promise<void> {
  await guest.dropCaches();
  const state = async () => ({
    guest: await guest.memory(),
    host: processMemory([guest.pid]),
    cache: await pageCacheOf([folder]),
  });
  const before = await state();
  const startMs = performance.now();
  await guest.shell(script);
  const seconds = (performance.now() - startMs) / 1000;
  const after = await state();
  const mib = (bytes: number) => (bytes / MIB).toFixed(0);
  const cached = after.guest.cached - before.guest.cached;
  note(
    `${name}: ${seconds.toFixed(1)} s; the guest's Cached grew by ${mib(cached)} MiB, ` +
      `QEMU's own memory by ${mib(after.host.own - before.host.own)} MiB, the host's page cache of the volume by ` +
      `${mib(after.cache - before.cache)} MiB`,
  );
  if (daxNew) assert.ok(cached < FLAT_BYTES, `Cached grew by ${cached} bytes`);
}
