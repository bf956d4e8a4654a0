#!/usr/bin/env node
/** The `blobd` command. Each subcommand lives in commands/ and is loaded when it is used. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Command, Option } from "commander";
import { exitCodeOf, reportError } from "./exit.ts";
import { LOG_LEVELS } from "./logger.ts";
import { addPassthroughOptions, CACHE_HELP } from "./passthrough-options.ts";

const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const program = new Command("blobd")
  .description("Serves files to guests and to this host.")
  .version(version)
  .exitOverride()
  .configureOutput({
    outputError: (text, write) =>
      write(
        `blobd: ${text
          .trim()
          .replace(/^error: /, "")
          .replaceAll("\n", " ")} (try blobd --help)\n`,
      ),
  })
  .addHelpText("after", () => EXAMPLES);

const EXAMPLES = `
Examples
  blobd passthrough /srv/volume /mnt             a directory, served on this host
  blobd passthrough --read-only --cache always /usr/share/doc /mnt

Exit status: 0 done, 1 failed, 2 wrong usage.`;

const logOption = () =>
  new Option("--log-level <level>", "what is logged, as JSON lines on stderr").choices(LOG_LEVELS).default("info");

addPassthroughOptions(
  program
    .command("passthrough")
    .description("serve a directory of this host on this host, through /dev/fuse, until it is unmounted")
    .argument("<source>", "the directory that is served")
    .argument("<mountpoint>", "where")
    .option("--threads <n>", "threads that serve it", String(Math.min(4, Math.max(2, availableParallelism()))))
    .option("--allow-other", "other users may use it (default for root)")
    .option("--no-allow-other", "only the user who mounts it")
    .option("--allow-devices", "device nodes work (root only)")
    .option("--allow-suid", "set-user-ID programs work (root only)"),
)
  .addOption(logOption())
  .option("--json", "say when it is mounted as JSON on stdout")
  .addHelpText(
    "after",
    `${CACHE_HELP}

Examples
  blobd passthrough /srv/volume /mnt &             umount /mnt ends it
  blobd passthrough --uid-map 0:100000:65536 --gid-map 0:100000:65536 /srv/volume /mnt

SIGINT and SIGTERM unmount it; while it is in use it is detached first, and a second signal aborts it. Without root it needs
fusermount3 (package fuse3).`,
  )
  .action(async (source, mountPoint, options) =>
    (await import("./commands/passthrough.ts")).run(source, mountPoint, options),
  );

try {
  await program.parseAsync();
} catch (error) {
  reportError(error);
  process.exitCode = exitCodeOf(error);
}
process.exit();
