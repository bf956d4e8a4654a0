import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FSLOAD, type Place, type Workload } from "./place.ts";

const FILE_BYTES = 5_000_000;

/** The guest reboots, and is reset by QEMU, with files open and mapped: the same server serves it again. Leaves a fresh guest. */
export const restarts: Workload = {
  name: "the guest reboots and is reset; its server stays",
  async run(place: Place) {
    const { guest, volume, folder, server, note, restart } = place;
    // The one that is there and the one that works; a third is kept ready.
    const pids = server.pids().slice(0, 2).join();
    for (const how of ["reboot", "reset"] as const) {
      const startMs = performance.now();
      // What is synced stays; a program is in the midst of it all.
      await guest.shell(`${FSLOAD} mapwrite ${volume}/${how} ${FILE_BYTES} && echo ${how} >${volume}/said && sync
        (while true; do ${FSLOAD} mapwrite ${volume}/busy ${FILE_BYTES}; ${FSLOAD} read ${volume}/busy; done) >/dev/null 2>&1 &
        exec 5<${volume}/${how}; ${FSLOAD} mapread ${volume}/${how}`);
      await restart(how);
      await guest.shell(`${FSLOAD} check ${volume}/${how} ${FILE_BYTES} && cmp ${volume}/said - <<'END'\n${how}\nEND`);
      // And the other way: what the host changes, the guest sees.
      writeFileSync(join(folder, "from-host"), `${how} on the host`);
      assert.equal(await guest.shell(`cat ${volume}/from-host; rm ${volume}/from-host`), `${how} on the host`);
      await guest.shell(`echo after >>${volume}/said`);
      assert.equal(readFileSync(join(folder, "said"), "latin1"), `${how}\nafter\n`);
      await guest.shell(`rm ${volume}/${how} ${volume}/busy ${volume}/said`);
      note(`${how}: ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
    }
    assert.equal(server.pids().slice(0, 2).join(), pids, "the same processes serve");
  },
};
