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
  for (const name of ["host", "source", "mount", "read-only"]) mkdirSync(join(directory, name));
  await serve(join(directory, "source"), join(directory, "mount"));
  await serve(join(directory, "source"), join(directory, "read-only"), "--read-only");
});
after(() => {
  for (const target of mounts) if (findFuseMount(target) !== null) unmount(target, { lazy: true });
  rmSync(directory, { recursive: true, force: true });
});

for (const place of ["host", "mount"])
  describe(`on the ${place === "host" ? "host's file system" : "mount"}`, () => {
    for (const [index, each] of CASES.entries())
      test(each.name, () => {
        const own = join(directory, place, String(index));
        mkdirSync(own);
        chmodSync(own, 0o777);
        assert.deepEqual(each.run(new World(own)), expectation(each, place));
      });
  });

function expectation({ name, expected }: Case, place: string): unknown {
  return place === "mount" && name in DIFFERENCES ? DIFFERENCES[name] : expected;
}

describe("on a read-only mount", () => {
  for (const [name, call] of Object.entries(READ_ONLY_CALLS))
    test(name, () => {
      const source = join(directory, "source", `read-only ${name}`);
      mkdirSync(join(source, "dir"), { recursive: true });
      writeFileSync(join(source, "file"), "");
      assert.equal(
        outcome(() => call((file) => join(directory, "read-only", `read-only ${name}`, file))),
        "EROFS",
      );
    });
});

test("each listed difference belongs to a case", () => {
  const names = new Set(CASES.map(({ name }) => name));
  for (const name of Object.keys(DIFFERENCES)) assert.ok(names.has(name), name);
});
