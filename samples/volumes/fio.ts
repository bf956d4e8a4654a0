import assert from "node:assert/strict";
import type { Workload } from "./place.ts";
import type { Sizes } from "./sizes.ts";

const ENGINES = [
  { name: "psync", direct: false },
  { name: "mmap", direct: false },
  { name: "libaio", direct: true },
  { name: "io_uring", direct: false },
];

/** Every block carries a checksum, its place and a number; fio reads all of them back. */
const jobs = (directory: string, { sequentialMib, randomMib }: Sizes) => `[global]
directory=${directory}
verify=xxhash
verify_fatal=1
do_verify=1
randrepeat=1
fallocate=none
iodepth=8
stonewall
${ENGINES.flatMap(({ name, direct }) => [
  `[${name}-sequential]\nioengine=${name}\ndirect=${Number(direct)}\nrw=write\nbs=128k\nsize=${sequentialMib}m`,
  `[${name}-random]\nioengine=${name}\ndirect=${Number(direct)}\nrw=randwrite\nbs=4k\nsize=${randomMib}m`,
]).join("\n")}
`;

/** fio writes and verifies: sequentially and at random, by system calls, mappings, libaio with O_DIRECT and io_uring. */
export const fio: Workload = {
  name: "fio with verification: psync, mmap, libaio, io_uring",
  async run({ guest, volume, sizes, note }) {
    const startMs = performance.now();
    const said = await guest.shell(`mkdir ${volume}/fio && cat >/tmp/jobs <<'END'
${jobs(`${volume}/fio`, sizes)}
END
fio --output-format=json /tmp/jobs`);
    const report = JSON.parse(said.slice(said.indexOf("{"))) as {
      jobs: { jobname: string; error: number; read: { io_bytes: number }; write: { io_bytes: number } }[];
    };
    assert.equal(report.jobs.length, 2 * ENGINES.length);
    for (const { jobname, error, read, write } of report.jobs) {
      assert.equal(error, 0, jobname);
      assert.ok(write.io_bytes > 0 && read.io_bytes === write.io_bytes, `${jobname}: not all was read back`);
    }
    note(`${((performance.now() - startMs) / 1000).toFixed(1)} s`);
    await guest.shell(`rm -r ${volume}/fio`);
  },
};
