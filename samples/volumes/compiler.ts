import assert from "node:assert/strict";
import { join } from "node:path";
import { run } from "../../builder/testkit/index.ts";
import type { Workload } from "./place.ts";

/** gcc compiles and links real programs on the volume: the same bytes as in the guest's memory, and they run. */
export const compiler: Workload = {
  name: "gcc compiles zlib's programs, which run",
  async run({ guest, volume, folder, sizes, note }) {
    const startMs = performance.now();
    // -save-temps: the compiler's own intermediate files on the volume too.
    const compile = (where: string) =>
      guest.shell(`mkdir ${where} && cd ${where} && cp /usr/src/zlib/*.[ch] . && (
        for program in ${sizes.programs.join(" ")}; do gcc -O1 -save-temps -o $program $program.c -lz || exit 1; done
        ); status=$?; cd /; (exit $status)`);
    await compile(`${volume}/zlib`);
    note(`${((performance.now() - startMs) / 1000).toFixed(1)} s`);
    await compile("/tmp/zlib");
    const said = await guest.shell(`diff -r ${volume}/zlib /tmp/zlib && cd ${volume}/zlib && ./example &&
      ./minigzip <gun.c >gun.gz && ./minigzip -d <gun.gz | cmp - gun.c &&
      echo 'all the same'; cd /`);
    assert.match(said, /inflate\(\): hello, hello!/);
    assert.match(said, /all the same\n$/);
    const onHost = join(folder, "zlib");
    await run("sh", ["-c", "gzip -dc gun.gz | cmp - gun.c"], { cwd: onHost });
  },
};
