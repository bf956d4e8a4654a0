import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { unmount } from "../../../sys/index.ts";
import { findFuseMount } from "../../device/index.ts";
import { ENTRY_CASES } from "./entries.ts";
import { FILE_CASES } from "./files.ts";
import { PATH_CASES, READ_ONLY_CALLS } from "./paths.ts";
import { TIME_CASES } from "./times.ts";
import { type Case, outcome, World } from "./world.ts";

// What POSIX and Linux say of files, tried on the host's file system and on a mount of `blobd passthrough` over it. The
// cases are those of pjdfstest by their descriptions, in code of our own. The mount is served by another process, because
// a case changes the user of its own.

/** Where our mount may answer otherwise, and why. docs/volumes.md has the same list for users. */
const DIFFERENCES: Readonly<Record<string, unknown>> = Object.fromEntries(
  ["regular", "directory", "fifo", "block", "char", "socket"].map((type) => [
    // Linux sends no owner, no group and no ctime to a FUSE server then: there is nothing to do. POSIX allows both.
    `chown: owner and group both -1 of a ${type}`,
    "none",
  ]),
);

const CASES: readonly Case[] = [...PATH_CASES, ...ENTRY_CASES, ...FILE_CASES, ...TIME_CASES];
/** Where the cases are tried: the host's file system, and mounts with these options. */
const PLACES: Readonly<Record<string, readonly string[] | null>> = {
  host: null,
  mount: [],
  "mount, by descriptors, nothing cached": ["--inode-file-handles", "never", "--cache", "never"],
  "mount, all cached, writeback": ["--cache", "always", "--writeback"],
};

const directory = mkdtempSync(join(tmpdir(), "conformance-"));
const CLI = fileURLToPath(new URL("../../../cli/main.js", import.meta.url));
const mounts: string[] = [];

async function serve(source: string, target: string, ...options: string[]): Promise<void> {
  const args = [
    CLI,
    "passthrough",
    "--log-level",
    "warn",
    "--allow-devices",
    "--allow-suid",
    ...options,
    source,
    target,
  ];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  mounts.push(target);
  await once(child.stdout, "data");
}

before(async () => {
  process.umask(0o022);
  chmodSync(directory, 0o755);
  for (const [place, options] of [...Object.entries(PLACES), ["read-only", ["--read-only"]] as const]) {
    mkdirSync(join(directory, place));
    if (options === null) continue;
    const source = join(directory, `${place}'s source`);
    mkdirSync(source);
    await serve(source, join(directory, place), ...options);
  }
});
after(() => {
  for (const target of mounts) if (findFuseMount(target) !== null) unmount(target, { lazy: true });
  rmSync(directory, { recursive: true, force: true });
});

for (const [place, options] of Object.entries(PLACES))
  describe(place, () => {
    for (const [index, each] of CASES.entries())
      test(each.name, () => {
        const own = join(directory, place, String(index));
        mkdirSync(own);
        chmodSync(own, 0o777);
        assert.deepEqual(each.run(new World(own)), expectation(each, options));
      });
  });

function expectation({ name, expected }: Case, options: readonly string[] | null): unknown {
  if (options === null || !(name in DIFFERENCES)) return expected;
  // With writeback the kernel keeps the times of regular files itself, and does as every other file system.
  return options.includes("--writeback") && name.endsWith(" regular") ? expected : DIFFERENCES[name];
}

describe("on a read-only mount", () => {
  for (const [name, call] of Object.entries(READ_ONLY_CALLS))
    test(name, () => {
      const source = join(directory, "read-only's source", name);
      mkdirSync(join(source, "dir"), { recursive: true });
      writeFileSync(join(source, "file"), "");
      assert.equal(
        outcome(() => call((file) => join(directory, "read-only", name, file))),
        "EROFS",
      );
    });
});

test("each listed difference belongs to a case", () => {
  const names = new Set(CASES.map(({ name }) => name));
  for (const name of Object.keys(DIFFERENCES)) assert.ok(names.has(name), name);
});
