/** `blobd snapshotter`, until the blobd command has its place. */
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { pino } from "pino";
import { defaultStoreRoot } from "../store/index.ts";
import { startSnapshotter } from "./index.ts";

const program = new Command("blobd-snapshotter")
  .description("serve containerd as snapshotter and differ")
  .option("--address <socket>", "Unix socket that containerd calls", "/run/blobd/snapshotter.sock")
  .option("--containerd <socket>", "containerd's socket", "/run/containerd/containerd.sock")
  .option("--store <dir>", "the store of converted layers", defaultStoreRoot())
  .option(
    "--root <dir>",
    "the snapshotter's own folder: writable files of containers, mounts, state",
    "/var/lib/blobd/snapshotter",
  )
  .option("--metrics <host:port>", "serve Prometheus metrics there")
  .option("--log-level <level>", "trace, debug, info, warn, error", "info")
  .action(async (options) => {
    const log = pino({ level: options.logLevel });
    const running = await startSnapshotter({
      ...options,
      log,
      program: fileURLToPath(new URL("../../builder/cli/main.js", import.meta.url)),
    });
    const stop = () => {
      log.info("snapshotter stops");
      running.stop().then(
        () => process.exit(0),
        (error) => {
          log.error({ error: String(error) }, "stopping failed");
          process.exit(1);
        },
      );
    };
    process.once("SIGTERM", stop).once("SIGINT", stop);
  });

await program.parseAsync();
