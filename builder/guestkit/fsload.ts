import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../testkit/index.ts";

// In the source tree: this file is dist/builder/guestkit/fsload.js when it runs.
const SOURCE = fileURLToPath(new URL("../../../builder/guestkit/programs/fsload.c", import.meta.url));

/** What `fsload` found. */
export interface FsloadResult {
  readonly operations: number;
  readonly bytes: number;
  readonly seconds: number;
}

/**
 * Compiles fsload.c into `folder`: a static program that gives a file system one kind of work, in a guest or on the host. gcc
 * alone is enough, it needs no libc.
 * @returns the program's path
 */
export async function compileFsload(folder: string): Promise<string> {
  const path = join(folder, "fsload");
  const freestanding = ["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"];
  await run("gcc", ["-O2", ...freestanding, "-o", path, SOURCE]);
  return path;
}

/** @param line what it printed: operations, bytes, nanoseconds */
export function parseFsload(line: string): FsloadResult {
  const [, operations, bytes, nanoseconds] = /^(\d+) (\d+) (\d+)\n$/.exec(line)?.map(Number) ?? [];
  if (operations === undefined || bytes === undefined || nanoseconds === undefined)
    throw new Error(`fsload printed ${JSON.stringify(line.slice(0, 200))}`);
  return { operations, bytes, seconds: nanoseconds / 1e9 };
}
