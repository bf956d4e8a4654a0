/** Memory of the server for a million inodes that the kernel knows: on this host, where a million are looked up in a minute. */
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseFsload } from "../../builder/guestkit/index.ts";
import { run, startServer } from "../../builder/testkit/index.ts";
import type { Inputs } from "./inputs.ts";

export interface InodeMemory {
  readonly inodes: number;
  /** To look all of them up, a program's system calls included. */
  readonly seconds: number;
  /** Private memory of the server before and after, in bytes. */
  readonly anonymousBefore: number;
  readonly anonymousAfter: number;
  /** Its shared tables, in bytes. */
  readonly sharedBefore: number;
  readonly sharedAfter: number;
}

const FOLDERS = 20;
const FILES = 50_000;
// This file is dist/bench/virtiofs/inodes.js when it runs.
const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));

/** Looks up a million files through `blobd passthrough`. */
export async function measureInodes({ fsloadPath }: Inputs, work: string): Promise<InodeMemory> {
  const [source, target] = [join(work, "million"), join(work, "mount")];
  const folders = Array.from({ length: FOLDERS }, (_, i) => `folder-${i}`);
  await mkdir(target);
  for (const folder of folders) {
    await mkdir(join(source, folder), { recursive: true });
    await run(fsloadPath, ["make", join(source, folder), String(FILES), "0"]);
  }
  const args = ["passthrough", "--cache", "always", "--log-level", "warn", source, target];
  const server = await startServer(process.execPath, [BLOBD, ...args], /mount/);
  try {
    const before = await memoryOf(server.child.pid!);
    let seconds = 0;
    for (const folder of folders) {
      const found = parseFsload((await run(fsloadPath, ["stat", join(target, folder), String(FILES)])).stdout);
      seconds += found.seconds;
    }
    const after = await memoryOf(server.child.pid!);
    return {
      inodes: FOLDERS * FILES,
      seconds,
      anonymousBefore: before.anonymous,
      anonymousAfter: after.anonymous,
      sharedBefore: before.shared,
      sharedAfter: after.shared,
    };
  } finally {
    await server.stop();
    await rm(source, { recursive: true });
  }
}

/** proc(5), status. */
async function memoryOf(pid: number): Promise<{ anonymous: number; shared: number }> {
  const text = await readFile(`/proc/${pid}/status`, "utf8");
  const value = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0) * 1024;
  return { anonymous: value("RssAnon"), shared: value("RssShmem") };
}
