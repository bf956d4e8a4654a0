/** `erofsify job` and its subcommands. */
import { type Command, Option } from "commander";

const several = (value: string, before: string[] | undefined) => [...(before ?? []), value];

/** Adds them to the program. */
export function registerJob(program: Command, version: string, storeOption: () => Option): void {
  const job = program.command("job").description("convert what is pushed to registries: a service with a queue");
  const withOptions = (command: Command) =>
    command
      .option("--config <file>", "settings: registries, rules, limits (docs/job.md)")
      .option("--registry <host>", "a registry whose images are converted (also several times)", several)
      .addOption(
        new Option("--database <where>", "the queue: a folder, or postgres://… for several workers").env(
          "EROFSIFY_DATABASE",
        ),
      )
      .option("--conversions <n>", "conversions at once", "1")
      .option("--drain <seconds>", "on SIGTERM, what conversions under way are given to end", "20")
      .option("--log-level <level>", "debug, info, warn, error or silent; JSON lines on stdout", "info")
      .addOption(storeOption());

  withOptions(
    job
      .command("serve")
      .description("take webhooks and requests, show the queue on a page, and convert")
      .option("--listen <host:port>", "where HTTP is answered", "127.0.0.1:2077")
      .option("--authorization-file <file>", "accepted Authorization headers, one a line"),
  ).action(async (options) => (await import("./commands/job.ts")).serve(options, version));

  withOptions(
    job
      .command("work")
      .description("convert only, for a queue on PostgreSQL")
      .option("--listen <host:port>", "answer health checks and Prometheus here"),
  ).action(async (options) => (await import("./commands/job.ts")).work(options));

  job
    .command("convert-one", { hidden: true })
    .description("what a worker starts for each conversion")
    .action(async () => (await import("./commands/job-convert-one.ts")).run());
}
