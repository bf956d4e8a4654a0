/** Runs benchmarks: `npm run bench -- [convert|guest|virtiofs|containerd|lazy|tree|push] [options]`; see docs/benchmarks.md. */
import { tmpdir } from "node:os";
import { Command, Option } from "commander";
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

quietly(program.command("convert", { isDefault: true }))
  .description("conversion of images: time and memory against mkfs.erofs, containerd, tar and bare decompression")
  .option("--rounds <n>", "how often each case is measured, in turn with the others", wholeNumber, 5)
  .addOption(
    new Option("--only <group...>", "these groups of cases").choices(GROUPS).default([...GROUPS], GROUPS.join(" ")),
  )
  .option("--no-compare", "do not compare the trees that come out")
  .option("--save", "replace bench/results/convert.* and the tables in docs/benchmarks.md", false)
  .option("--work <dir>", "where results are written while they are measured, on the disk that counts", tmpdir())
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

quietly(program.command("guest"))
  .description(
    "a guest reads many small files: EROFS over virtio-pmem against virtiofs, virtio-blk and tmpfs; guest starts",
  )
  .option("--rounds <n>", "guests of each case", wholeNumber, 1)
  .addOption(new Option("--only <case...>", "these cases").choices(CASE_IDS).default([...CASE_IDS], CASE_IDS.join(" ")))
  .option("--no-read", "only time guest starts")
  .option("--starts <n>", "how often erofsify run is timed", wholeNumber, 5)
  .option("--save", "replace bench/results/guest.* and the tables in docs/benchmarks.md", false)
  .option("--work <dir>", "where the trees and images are while they are measured", tmpdir())
  .action(({ rounds, only, read, starts, save, work, lock, patience }) =>
    benchGuest({
      rounds,
      cases: read ? only : [],
      starts,
      save,
      workDirectory: work,
      quiet: { lockFile: lock, patienceMs: patience * 1000 },
    }),
  );

quietly(program.command("virtiofs"))
  .description("a guest works on a folder of the host: blobd against virtiofsd, with and without DAX")
  .option("--rounds <n>", "how often each row is measured in each guest", wholeNumber, 3)
  .addOption(
    new Option("--only <case...>", "these cases").choices(VOLUME_IDS).default([...VOLUME_IDS], VOLUME_IDS.join(" ")),
  )
  .option("--no-guests", "without guests: only what single requests and inodes cost")
  .option("--no-requests", "do not measure what single requests cost the servers")
  .option("--no-mappings", "do not measure what a DAX mapping costs")
  .option("--no-inodes", "do not measure the server's memory for a million inodes")
  .option("--save", "replace bench/results/virtiofs.* and the tables in docs/benchmarks.md", false)
  .option("--work <dir>", "where the folder is that guests work on; memory, to leave the disk out", "/dev/shm")
  .action(({ rounds, only, guests, requests, mappings, inodes, save, work, lock, patience }) =>
    benchVirtiofs({
      rounds,
      cases: guests ? only : [],
      requests,
      mappings: guests && mappings,
      inodes,
      save,
      workDirectory: work,
      quiet: { lockFile: lock, patienceMs: patience * 1000 },
    }),
  );

quietly(program.command("lazy"))
  .description(
    "guests of an image that is still in a registry, over a slow line: converted first, lazy, with a list, warm",
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
  .option("--save", "replace bench/results/lazy.* and the tables in docs/benchmarks.md", false)
  .option("--work <dir>", "where stores are while they are measured, on the disk that counts", tmpdir())
  .action(({ rounds, only, line, roundTrip, host, save, work, lock, patience }) =>
    benchLazy({
      rounds,
      workloads: only,
      link: { bytesPerSecond: (line * 1e6) / 8, roundTripMs: roundTrip },
      host,
      save,
      workDirectory: work,
      quiet: { lockFile: lock, patienceMs: patience * 1000 },
    }),
  );

quietly(program.command("tree"))
  .description(
    "a guest reads many small files in our own ways: EROFS over virtio-pmem, imagefs and passthrough over virtio-fs",
  )
  .option("--rounds <n>", "guests of each case", wholeNumber, 1)
  .addOption(new Option("--only <case...>", "these cases").choices(TREE_IDS).default([...TREE_IDS], TREE_IDS.join(" ")))
  .option("--save", "replace bench/results/tree.* and the tables in docs/benchmarks.md", false)
  .option("--work <dir>", "where the trees and images are while they are measured", tmpdir())
  .action(({ rounds, only, save, work, lock, patience }) =>
    benchTree({
      rounds,
      cases: only,
      save,
      workDirectory: work,
      quiet: { lockFile: lock, patienceMs: patience * 1000 },
    }),
  );

quietly(program.command("containerd"))
  .description("an image pulled and run by containerd: our snapshotter against overlayfs and containerd's erofs")
  .option("--rounds <n>", "how often each case is measured, in turn with the others", wholeNumber, 3)
  .option("--save", "replace bench/results/containerd.* and the tables in docs/benchmarks.md", false)
  .option("--work <dir>", "where containerd's state is while it is measured, on the disk that counts", tmpdir())
  .action(({ rounds, save, work, lock, patience }) =>
    benchContainerd({
      rounds,
      save,
      workDirectory: work,
      quiet: { lockFile: lock, patienceMs: patience * 1000 },
    }),
  );

quietly(program.command("push"))
  .description("images in a registry: throughput, size, what new versions add, conversions a minute, hash trees")
  .addOption(new Option("--only <part...>", "these parts").choices(PARTS).default([...PARTS], PARTS.join(" ")))
  .option("--save", "replace bench/results/push.* and the tables in docs/benchmarks.md", false)
  .option("--work <dir>", "where stores and images are while they are measured, on the disk that counts", tmpdir())
  .action(({ only, save, work, lock, patience }) =>
    benchPush({ parts: only, save, workDirectory: work, quiet: { lockFile: lock, patienceMs: patience * 1000 } }),
  );

await program.parseAsync();

/** Adds the options for machines on which others are at work. */
function quietly(command: Command): Command {
  return command
    .option("--lock <file>", "hold an exclusive flock on this file during each measurement")
    .option(
      "--patience <seconds>",
      "how long to wait before each measurement for other processes to be idle",
      wholeNumber,
      60,
    );
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new TypeError(`expected a whole number from 1 on, found "${text}"`);
  return Number(text);
}
