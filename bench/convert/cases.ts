import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { mountErofs, unmount } from "../../blobd/sys/index.ts";
import { describeTree, type TreeDescription } from "../../builder/testkit/index.ts";
import { type Command, measure, processCpu } from "../kit/index.ts";
import type { Case } from "./case.ts";
import type { Snapshotter } from "./containerd.ts";
import { erofsify, program, shell } from "./programs.ts";
import type { Setting } from "./setting.ts";

/** A case that is one command with one path to write to. */
interface PathCase {
  readonly name: string;
  readonly kind: Case["kind"];
  readonly once?: true;
  /** Whether `path` is a directory that must be there before. */
  readonly directory?: true;
  command(path: string): Command;
  describe?(path: string): Promise<TreeDescription>;
}

/** Each run gets an absent path (or an empty directory), which is removed after it. */
export function pathCase(setting: Setting, { name, kind, once, directory, command, describe }: PathCase): Case {
  const path = setting.fresh("result");
  return {
    name,
    kind,
    ...(once && { once }),
    async setUp() {
      if (directory) mkdirSync(path);
    },
    measure: () => measure(command(path), setting.work),
    ...(describe && { describe: () => describe(path) }),
    async tearDown() {
      await rm(path, { recursive: true, force: true });
    },
  };
}

/** `erofsify SOURCE` into an empty store. */
export function erofsifyCase(setting: Setting, name: string, source: string, env: Record<string, string> = {}): Case {
  return pathCase(setting, {
    name,
    kind: "ours",
    command: (store) => erofsify(["--quiet", "--json", "--store", store, source], env),
    describe: (store) => describeConverted(setting, source, store),
  });
}

/** mkfs.erofs of the lab: `mkfs.erofs OPTIONS IMAGE SOURCE`. */
export function mkfsCase(setting: Setting, name: string, options: readonly string[], source: string): Case {
  return pathCase(setting, {
    name,
    kind: "peer",
    command: (image) => setting.lab.command("mkfs.erofs", "--quiet", ...options, image, source),
    describe: (image) => describeImageFile(setting, image),
  });
}

/** The same until its image is on the disk, as erofsify's result is. */
export function mkfsSyncedCase(setting: Setting, name: string, options: readonly string[], source: string): Case {
  const script = 'mkfs.erofs --quiet "$@" && sync "$SYNCED"';
  return pathCase(setting, {
    name,
    kind: "peer",
    command: (image) =>
      setting.lab.command("env", `SYNCED=${image}`, "sh", "-c", script, "sh", ...options, image, source),
  });
}

/** `ctr images pull`, which unpacks; processor time and memory are those of ctr and containerd. */
export function containerdCase({ containerd, reference, work }: Setting, snapshotter: Snapshotter): Case {
  return {
    name: `containerd, ${snapshotter}`,
    kind: "peer",
    async measure() {
      const { pid } = containerd;
      const before = processCpu(pid);
      writeFileSync(`/proc/${pid}/clear_refs`, RESET_PEAK);
      const client = await measure(containerd.pullCommand(reference, snapshotter), work);
      const after = processCpu(pid);
      return {
        ...client,
        userSeconds: client.userSeconds + after.user - before.user,
        systemSeconds: client.systemSeconds + after.system - before.system,
        peakBytes: peakOf(pid),
      };
    },
    describe: async () => describeTree(await containerd.mount(reference, snapshotter)),
    tearDown: () => containerd.remove(reference),
  };
}

/** Bare decompression, by our decompressors and by command-line tools, all files at once. */
export function limitCases({ work }: Setting, files: readonly string[]): Case[] {
  const limit = (name: string, command: Command): Case => ({
    name: `limit: ${name}`,
    kind: "limit",
    measure: () => measure(command, work),
  });
  const allAtOnce = (tool: string) =>
    shell(
      `for file; do ${tool} -dc "$file" >/dev/null & pids="$pids $!"; done; for pid in $pids; do wait "$pid" || exit; done`,
      ...files,
    );
  return [
    limit("ISA-L in Node.js", program("limit.js", "isal", ...files)),
    limit("zlib in Node.js", program("limit.js", "zlib", ...files)),
    limit("igzip -dc", allAtOnce("igzip")),
    limit("gzip -dc", allAtOnce("gzip")),
  ];
}

/** Written to /proc/pid/clear_refs it makes the current resident size the new peak. proc(5). */
const RESET_PEAK = "5";

function peakOf(pid: number): number {
  return Number(/^VmHWM:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

/** The tree of what erofsify put into a store, by the kernel. */
async function describeConverted(setting: Setting, source: string, store: string): Promise<TreeDescription> {
  const { stdout } = await measure(erofsify(["--quiet", "--json", "--store", store, source]), setting.work);
  const { meta, blobs } = JSON.parse(stdout) as Record<"meta", StoredFile> & Record<"blobs", StoredFile[]>;
  const path = ({ digestHex }: StoredFile) => join(store, "blobs/sha256", digestHex);
  return describeMounted(setting, path(meta), blobs.map(path));
}

interface StoredFile {
  readonly digestHex: string;
}

async function describeImageFile(setting: Setting, image: string): Promise<TreeDescription> {
  return describeMounted(setting, image, []);
}

function describeMounted(setting: Setting, metaPath: string, devicePaths: readonly string[]): TreeDescription {
  const target = join(setting.work, "mounted");
  if (!existsSync(target)) mkdirSync(target);
  mountErofs({ metaPath, devicePaths, target });
  try {
    return describeTree(target);
  } finally {
    unmount(target, { lazy: true });
  }
}
