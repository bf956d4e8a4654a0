import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./run.ts";

/** This file is dist/builder/testkit/fsck.js when it runs. */
const RUN_IN_LAB = fileURLToPath(new URL("../../../samples/lab/run-in-lab.sh", import.meta.url));

/**
 * Checks an EROFS image with both fsck.erofs of the machine (1.5 on Debian 12) and of the lab (1.9): the whole metadata,
 * and with the lab's also that all data reads.
 *
 * @param devices the image's extra devices, in slot order
 * @param extractTo an absent or empty directory for the lab's fsck.erofs to extract the image to
 * @throws CommandError with its words when one of them finds a fault.
 */
export async function fsckErofs(image: string, devices: readonly string[] = [], extractTo?: string): Promise<void> {
  const files = [...devices, image].map((file) => resolve(file));
  const args = [...files.slice(0, -1).map((file) => `--device=${file}`), files.at(-1)!];
  await run("fsck.erofs", args);
  const extract =
    extractTo === undefined ? ["--extract"] : [`--extract=${resolve(extractTo)}`, "--preserve", "--xattrs"];
  const directories = [...files, ...(extractTo === undefined ? [] : [resolve(extractTo)])].map(dirname);
  const binds = [...new Set(directories)].flatMap((directory) => ["--bind", directory]);
  await run(RUN_IN_LAB, ["--part", "utils", ...binds, "--", "fsck.erofs", ...extract, ...args]);
}
