import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FSLOAD, type Place, type Workload } from "./place.ts";

/** A fraction of a second is usual; the machine may be busy. */
const LONGEST_PAUSE_MS = 20_000;
const BETWEEN_KILLS_MS = 900;
const FILE_BYTES = 3_000_000;

/** Two programs write, check and remove files all the while; what each has done, and whether anything failed, is in files. */
const load = (folder: string) =>
  [1, 2]
    .map(
      (n) => `(i=0; while [ ! -e ${folder}/stop ]; do
    ${FSLOAD} mapwrite ${folder}/lane${n} ${FILE_BYTES} >/dev/null && ${FSLOAD} check ${folder}/lane${n} ${FILE_BYTES} >/dev/null &&
    rm ${folder}/lane${n} || { echo lane ${n} round $i >>/tmp/failures; break; }
    i=$((i + 1)); done; echo $i >${folder}/rounds${n}) &`,
    )
    .join("\n");

/** The process that serves is killed under load, again and again: the guest sees pauses, and nothing is lost. */
export const killed: Workload = {
  name: "kill -9 of the process that serves, under load",
  async run({ guest, volume, folder, server, sizes, note }: Place) {
    if (server.pids().length < 2) return note("the server has no process that another follows");
    const here = `${volume}/killed`;
    await guest.shell(`mkdir ${here}; rm -f /tmp/failures; ${load(here)} true`);
    const pauses: number[] = [];
    for (let kill = 0; kill < sizes.kills; kill++) {
      await sleep(BETWEEN_KILLS_MS);
      process.kill(server.pids()[1]!, "SIGKILL");
      const beganMs = performance.now();
      // A new file is a request whatever is cached.
      await guest.shell(`: >${here}/ping${kill}`);
      pauses.push(performance.now() - beganMs);
    }
    const rounds = (n: number) => join(folder, "killed", `rounds${n}`);
    await guest.shell(`: >${here}/stop; wait`);
    note(`from kill to the next answer, in ms: ${pauses.map((ms) => ms.toFixed(0)).join(", ")}`);
    assert.equal(await guest.shell("cat /tmp/failures 2>/dev/null || echo none"), "none\n");
    const done = [1, 2].map((n) => Number(readFileSync(rounds(n), "utf8")));
    note(`files written, checked and removed meanwhile: ${done.join(" and ")}`);
    assert.ok(Math.min(...done) > 0);
    assert.ok(!readdirSync(join(folder, "killed")).some((name) => name.startsWith("lane")));
    assert.ok(Math.max(...pauses) < LONGEST_PAUSE_MS);
    await guest.shell(`rm -r ${here}`);
  },
};
