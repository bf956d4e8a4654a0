/** The systemd units beside this file: what they start, our commands know. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { run } from "../../builder/testkit/index.ts";

/** This file is dist/samples/containerd/units.test.js when it runs. */
const REPOSITORY = new URL("../../..", import.meta.url);
const at = (path: string) => fileURLToPath(new URL(path, REPOSITORY));

for (const unit of ["blobd-serve", "blobd-snapshotter"])
  test(`${unit}.service starts a command with options that it has`, async () => {
    const text = readFileSync(at(`samples/containerd/${unit}.service`), "utf8");
    const [, command, rest = ""] = /^ExecStart=\/usr\/local\/bin\/blobd (\w+)(.*)$/m.exec(text)!;
    const { stdout } = await run(process.execPath, [at("dist/blobd/cli/main.js"), command!, "--help"]);
    for (const option of rest.match(/--[\w-]+/g) ?? []) assert.match(stdout, new RegExp(`${option}[ ,=]`), option);
    assert.match(rest, /--metrics 127\.0\.0\.1:\d+/);
  });
