/** Runs benchmarks: `npm run bench -- [convert|guest|virtiofs|containerd|lazy|tree|push] [options]`; see docs/benchmarks.md. */
import { tmpdir } from "node:os";
import { Command, Option, type OptionValues } from "commander";
import { benchContainerd } from "./containerd/index.ts";
import { benchConvert, GROUPS } from "./convert/index.ts";
import { benchGuest, CASE_IDS } from "./guest/index.ts";
import { benchLazy, WORKLOAD_IDS } from "./lazy/index.ts";
import { benchPush, PARTS } from "./push/index.ts";
import { benchTree, CASE_IDS as TREE_IDS } from "./tree/index.ts";
import { benchVirtiofs, CASE_IDS as VOLUME_IDS } from "./virtiofs/index.ts";

const program = new Command("bench").description(
  "benchmarks, side by side with other tools (Debian 12 or later, root)",
);

benchmark("convert", "where results are written while they are measured, on the disk that counts")
  .description("conversion of images: time and memory against mkfs.erofs, containerd, tar and bare decompression")
  .option("--rounds <n>", "how often each case is measured, in turn with the others", wholeNumber, 5)
  .addOption(
    new Option("--only <group...>", "these groups of cases").choices(GROUPS).default([...GROUPS], GROUPS.join(" ")),
  )
  .option("--no-compare", "do not compare the trees that come out")
  .action(({ rounds, only, compare, ...rest }) =>
    benchConvert({
      rounds,
      groups: only,
      compare,
      ...commonOf(rest),
    }),
  );

benchmark("guest", "where the trees and images are while they are measured")
  .description(
    "a guest reads many small files: EROFS over virtio-pmem against virtiofs, virtio-blk and tmpfs; guest starts",
  )
  .option("--rounds <n>", "guests of each case", wholeNumber, 1)
  .addOption(new Option("--only <case...>", "these cases").choices(CASE_IDS).default([...CASE_IDS], CASE_IDS.join(" ")))
  .option("--no-read", "only time guest starts")
  .option("--starts <n>", "how often erofsify run is timed", wholeNumber, 5)
  .action(({ rounds, only, read, starts, ...rest }) =>
    benchGuest({
      rounds,
      cases: read ? only : [],
      starts,
      ...commonOf(rest),
    }),
  );

benchmark("virtiofs", "where the folder is that guests work on; memory, to leave the disk out", "/dev/shm")
  .description("a guest works on a folder of the host: blobd against virtiofsd, with and without DAX")
  .option("--rounds <n>", "how often each row is measured in each guest", wholeNumber, 3)
  .addOption(
    new Option("--only <case...>", "these cases").choices(VOLUME_IDS).default([...VOLUME_IDS], VOLUME_IDS.join(" ")),
  )
  .option("--no-guests", "without guests: only what single requests and inodes cost")
  .option("--no-requests", "do not measure what single requests cost the servers")
  .option("--no-mappings", "do not measure what a DAX mapping costs")
  .option("--no-inodes", "do not measure the server's memory for a million inodes")
  .action(({ rounds, only, guests, requests, mappings, inodes, ...rest }) =>
    benchVirtiofs({
      rounds,
      cases: guests ? only : [],
      requests,
      mappings: guests && mappings,
      inodes,
      ...commonOf(rest),
    }),
  );

benchmark("lazy", "where stores are while they are measured, on the disk that counts")
  .description(
    "guests of an image that is still in a registry, over a slow line: converted first, lazy, with a list, optimized, warm",
  )
  .option("--rounds <n>", "guests of each workload in each way", wholeNumber, 1)
  .addOption(
    new Option("--only <workload...>", "these workloads")
      .choices(WORKLOAD_IDS)
      .default([...WORKLOAD_IDS], WORKLOAD_IDS.join(" ")),
  )
  .option("--line <megabits>", "what the line to the registry carries, in Mbit/s", wholeNumber, 200)
  .option("--round-trip <ms>", "there and back on that line, in ms", wholeNumber, 10)
  .option("--no-host", "only guests")
  .action(({ rounds, only, line, roundTrip, host, ...rest }) =>
    benchLazy({
      rounds,
      workloads: only,
      link: { bytesPerSecond: (line * 1e6) / 8, roundTripMs: roundTrip },
      host,
      ...commonOf(rest),
    }),
  );

benchmark("tree", "where the trees and images are while they are measured")
  .description(
    "a guest reads many small files in our own ways: EROFS over virtio-pmem, imagefs and passthrough over virtio-fs",
  )
  .option("--rounds <n>", "guests of each case", wholeNumber, 1)
  .addOption(new Option("--only <case...>", "these cases").choices(TREE_IDS).default([...TREE_IDS], TREE_IDS.join(" ")))
  .action(({ rounds, only, ...rest }) =>
    benchTree({
      rounds,
      cases: only,
      ...commonOf(rest),
    }),
  );

benchmark("containerd", "where containerd's state is while it is measured, on the disk that counts")
  .description("an image pulled and run by containerd: our snapshotter against overlayfs and containerd's erofs")
  .option("--rounds <n>", "how often each case is measured, in turn with the others", wholeNumber, 3)
  .action(({ rounds, ...rest }) =>
    benchContainerd({
      rounds,
      ...commonOf(rest),
    }),
  );

benchmark("push", "where stores and images are while they are measured, on the disk that counts")
  .description("images in a registry: throughput, size, what new versions add, conversions a minute, hash trees")
  .addOption(new Option("--only <part...>", "these parts").choices(PARTS).default([...PARTS], PARTS.join(" ")))
  .action(({ only, ...rest }) => benchPush({ parts: only, ...commonOf(rest) }));

await program.parseAsync();

/** A benchmark's command with the options that all have. @param work what --work is for */
function benchmark(name: string, work: string, directory = tmpdir()): Command {
  return program
    .command(name, { isDefault: name === "convert" })
    .option("--save", `replace bench/results/${name}.* and the tables in docs/benchmarks.md`, false)
    .option("--work <dir>", work, directory)
    .option("--lock <file>", "hold an exclusive flock on this file during each measurement")
    .option(
      "--patience <seconds>",
      "how long to wait before each measurement for other processes to be idle",
      wholeNumber,
      60,
    );
}

/** What these options say. */
function commonOf({ save, work, lock, patience }: OptionValues) {
  return {
    save: save as boolean,
    workDirectory: work as string,
    quiet: { lockFile: lock as string | undefined, patienceMs: (patience as number) * 1000 },
  };
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new TypeError(`expected a whole number from 1 on, found "${text}"`);
  return Number(text);
}
