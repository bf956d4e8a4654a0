/** Runs benchmarks: `npm run bench -- [convert] [options]`; see docs/benchmarks.md. */
import { tmpdir } from "node:os";
import { Command, Option } from "commander";
import { benchConvert, GROUPS } from "./convert/index.ts";

const program = new Command("bench").description(
  "benchmarks, side by side with other tools (Debian 12 or later, root)",
);

program
  .command("convert", { isDefault: true })
  .description("conversion of images: time and memory against mkfs.erofs, containerd, tar and bare decompression")
  .option("--rounds <n>", "how often each case is measured, in turn with the others", wholeNumber, 5)
  .addOption(
    new Option("--only <group...>", "these groups of cases").choices(GROUPS).default([...GROUPS], GROUPS.join(" ")),
  )
  .option("--no-compare", "do not compare the trees that come out")
  .option("--save", "replace bench/results/convert.* and the tables in docs/benchmarks.md", false)
  .option("--work <dir>", "where results are written while they are measured, on the disk that counts", tmpdir())
  .option("--lock <file>", "hold an exclusive flock on this file during each measurement")
  .option(
    "--patience <seconds>",
    "how long to wait before each measurement for other processes to be idle",
    wholeNumber,
    60,
  )
  .action(({ rounds, only, compare, save, work, lock, patience }) =>
    benchConvert({
      rounds,
      groups: only,
      compare,
      save,
      workDirectory: work,
      quiet: { lockFile: lock, patienceMs: patience * 1000 },
    }),
  );

await program.parseAsync();

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new TypeError(`expected a whole number from 1 on, found "${text}"`);
  return Number(text);
}
