import assert from "node:assert/strict";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../../builder/testkit/index.ts";
import type { Workload } from "./place.ts";
import type { Sizes } from "./sizes.ts";

// This file is dist/samples/volumes/git.js when it runs.
const PROJECT = fileURLToPath(new URL("../../../", import.meta.url));
const IDENTITY = {
  GIT_AUTHOR_NAME: "a",
  GIT_AUTHOR_EMAIL: "a@b.example",
  GIT_COMMITTER_NAME: "a",
  GIT_COMMITTER_EMAIL: "a@b.example",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_COUNT: "1",
  GIT_CONFIG_KEY_0: "safe.directory",
  GIT_CONFIG_VALUE_0: "*",
};

/** A repository of the host's is cloned on the volume, checked out, changed, packed and checked. */
export const git: Workload = {
  name: "git clone, checkout, commit, gc and fsck",
  async run({ guest, volume, folder, sizes }) {
    const { first, last } = await makeRepository(folder, sizes);
    const clone = `${volume}/clone`;
    const settings = Object.entries(IDENTITY).map(([name, value]) => `${name}='${value}'`);
    const said = await guest.shell(`export HOME=/tmp ${settings.join(" ")}
      (set -e
      git clone -q --no-local ${volume}/repository.git ${clone}
      cd ${clone}
      git fsck --full --strict
      git rev-parse HEAD 'HEAD^{tree}'
      git checkout -q first
      git rev-parse HEAD 'HEAD^{tree}'
      git diff --exit-code first
      git checkout -q -
      git status --porcelain
      find . -name '*.test.ts' -exec sed -i s/test/TEST/ {} +
      git commit -qam changed
      git gc -q --prune=now
      git fsck --full --strict
      git diff --exit-code HEAD
      git status --porcelain)`);
    assert.deepEqual(said.trim().split("\n"), [...last, ...first]);
    const onHost = join(folder, "clone");
    await gitOnHost(onHost, "fsck", "--full", "--strict");
    assert.equal(await gitOnHost(onHost, "status", "--porcelain"), "");
    assert.notEqual(await gitOnHost(onHost, "rev-parse", "HEAD"), `${last[0]}\n`);
  },
};

/** Commits parts of this project, in two steps; commit and tree of both. */
async function makeRepository(folder: string, sizes: Sizes): Promise<{ first: string[]; last: string[] }> {
  const [tree, bare] = [join(folder, "tree"), join(folder, "repository.git")];
  mkdirSync(tree);
  await gitOnHost(tree, "init", "-q", "-b", "main");
  const commit = async (...parts: string[]) => {
    for (const part of parts) cpSync(join(PROJECT, part), join(tree, part), { recursive: true });
    writeFileSync(join(tree, "README.md"), parts.join("\n"));
    await gitOnHost(tree, "add", "-A");
    await gitOnHost(tree, "commit", "-q", "-m", parts.join(" "));
    return (await gitOnHost(tree, "rev-parse", "HEAD", "HEAD^{tree}")).trim().split("\n");
  };
  const first = await commit(...sizes.gitFirst);
  await gitOnHost(tree, "tag", "first");
  const last = await commit(...sizes.gitThen);
  await gitOnHost(folder, "clone", "-q", "--bare", tree, bare);
  return { first, last };
}

async function gitOnHost(cwd: string, ...args: string[]): Promise<string> {
  return (await run("git", args, { cwd, env: IDENTITY })).stdout;
}
