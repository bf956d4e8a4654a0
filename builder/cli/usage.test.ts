import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { buildTar, erofsify, tempDir } from "../testkit/index.ts";

// Commands that cannot be carried out: exit code, and one line that says what was found and what to do.

const directory = tempDir();
const at = (name: string) => join(directory, name);

before(() => {
  mkdirSync(at("folder"));
  writeFileSync(at("file"), "no image".repeat(1000));
  writeFileSync(at("tree.tar"), buildTar([{ name: "a" }]));
});

interface Case {
  readonly args: readonly string[];
  readonly status: number;
  readonly says: RegExp;
}

const USAGE: readonly Case[] = [
  { args: [], status: 2, says: /missing required argument 'image-ref' \(try erofsify --help\)/ },
  { args: ["--nope", "a"], status: 2, says: /unknown option '--nope' \(try erofsify --help\)/ },
  { args: ["--platfrom", "a"], status: 2, says: /unknown option '--platfrom' \(Did you mean --platform\?\)/ },
  { args: ["convert", "a", "b"], status: 2, says: /too many arguments.*Expected 1 argument but got 2/ },
  { args: ["mount", "a"], status: 2, says: /missing required argument 'dir'/ },
  {
    args: ["tar:tree.tar", "--platform", "a/b/c/d"],
    status: 2,
    says: /--platform: found "a\/b\/c\/d", expected os\/arch/,
  },
  { args: ["tar:tree.tar", "--jobs", "0"], status: 2, says: /--jobs 0: expected a number from 1 to 256/ },
  { args: ["tar:tree.tar", "--jobs", "many"], status: 2, says: /--jobs many: expected a number/ },
  {
    args: ["tar:tree.tar", "--max-layer-size", "big"],
    status: 2,
    says: /--max-layer-size big: expected a size such as/,
  },
  { args: ["tar:tree.tar", "--max-layer-size=-5"], status: 2, says: /--max-layer-size -5: expected a size/ },
  { args: ["prune", "--max-size", "1XB"], status: 2, says: /--max-size 1XB: expected a size such as 500M/ },
  { args: ["tar:tree.tar", "-o", "file"], status: 2, says: /--output file: is a file, expected a folder or nothing/ },
  { args: ["tar:tree.tar", "--single", "folder"], status: 2, says: /--single folder: is a folder, expected a file/ },
  { args: ["tar:tree.tar", "--single", "no/x"], status: 2, says: /--single no\/x: there is no folder no/ },
  { args: ["UPPER"], status: 2, says: /"UPPER" in the repository, which must be lower case/ },
  { args: ["a:b:c"], status: 2, says: /found the tag "b:c", expected letters, digits/ },
  { args: ["oci:"], status: 2, says: /oci:: no path follows the colon/ },
  { args: ["docker-daemon:a"], status: 2, says: /docker-daemon is not a source of erofsify; .*docker save/ },
  { args: ["umount", "folder"], status: 2, says: /folder: no EROFS image is mounted there/ },
];

const SOURCES: readonly Case[] = [
  { args: ["tar:missing"], status: 3, says: /missing: no such file or directory/ },
  { args: ["dir:missing"], status: 3, says: /missing: no such file or directory/ },
  { args: ["oci:missing"], status: 3, says: /missing\/index\.json: no such file or directory/ },
  { args: ["oci:folder"], status: 3, says: /folder\/index\.json: no such file or directory/ },
  { args: ["oci-archive:missing"], status: 3, says: /missing: no such file or directory/ },
  { args: ["docker-archive:missing"], status: 3, says: /missing: no such file or directory/ },
  { args: ["docker-archive:tree.tar"], status: 3, says: /tree\.tar: has no member manifest\.json/ },
  { args: ["oci-archive:tree.tar"], status: 3, says: /tree\.tar: has no member index\.json/ },
  { args: ["dir:file"], status: 2, says: /file: is not a directory/ },
  { args: ["tar:folder"], status: 2, says: /folder: is no regular file/ },
];

const IMAGES: readonly Case[] = [
  {
    args: ["ls", "absent"],
    status: 4,
    says: /no file absent, and no image of that name in the store .*; convert it first/,
  },
  { args: ["check", "file"], status: 4, says: /file is no EROFS image that can be read: .*magic.*found/ },
  { args: ["mount", "file", "at"], status: 4, says: /file is no EROFS image that can be read/ },
  { args: ["dump", "folder"], status: 4, says: /folder holds no image\.erofs: not a folder written by erofsify -o/ },
  { args: ["umount", "missing"], status: 1, says: /missing/ },
];

const GROUPS: Readonly<Record<string, readonly Case[]>> = { usage: USAGE, sources: SOURCES, images: IMAGES };

for (const [group, cases] of Object.entries(GROUPS))
  describe(group, { concurrency: 3 }, () => {
    for (const { args, status, says } of cases)
      test(`erofsify ${args.join(" ")}`, async () => {
        const result = await erofsify([...args, ...(args[0] === "umount" ? [] : ["--store", at("store")])], {
          cwd: directory,
        });
        assert.match(result.stderr, says);
        assert.match(result.stderr, /^erofsify: [^\n]+\n$/, "one line");
        assert.equal(result.status, status);
        assert.equal(result.stdout, "");
      });
  });

test("no command made a store that only looked for something in it", async () => {
  await erofsify(["ls", "absent", "--store", at("not-made")]);
  assert.equal(existsSync(at("not-made")), false);
});

test("--help and --version are no errors", async () => {
  const help = await erofsify(["--help"]);
  assert.deepEqual([help.status, help.stderr], [0, ""]);
  assert.match(help.stdout, /Usage: erofsify .*Exit status: 0 done, 1 failed, 2 wrong usage/s);
  const version = await erofsify(["--version"]);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});
