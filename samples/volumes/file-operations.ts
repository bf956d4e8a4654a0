import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compareTrees, describeTree, run } from "../../builder/testkit/index.ts";
import type { Workload } from "./place.ts";

// In the source tree: this file is dist/samples/volumes/file-operations.js when it runs.
const SCRIPT = fileURLToPath(new URL("../../../samples/volumes/file-operations.sh", import.meta.url));

/** The script does the same on the volume and on the host, tells the same of it, and leaves the same behind. */
export const fileOperations: Workload = {
  name: "file operations as on the host's file system",
  async run({ guest, volume, folder }) {
    const [inGuest, onHost] = [join(folder, "operations"), join(folder, "operations-on-host")];
    for (const path of [inGuest, onHost]) mkdirSync(path);
    await guest.put("/tmp/file-operations.sh", readFileSync(SCRIPT));
    const said = await guest.shell(`cd ${volume}/operations && sh /tmp/file-operations.sh 2>&1; cd /`);
    const expected = (await run("sh", ["-c", `exec sh "$0" 2>&1`, SCRIPT], { cwd: onHost })).stdout;
    assert.ok(expected.split("\n").length > 200, expected);
    assert.deepEqual(said.split("\n"), expected.split("\n"));
    assert.deepEqual(compareTrees(describeTree(onHost), describeTree(inGuest)), []);
  },
};
