import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { VmError } from "../errors.ts";
import { findBusybox, readBusybox } from "./busybox.ts";

const folder = mkdtempSync(join(tmpdir(), "busybox-"));
after(() => rmSync(folder, { recursive: true }));
const busybox = join(folder, "busybox");
writeFileSync(busybox, "#!/bin/sh\n");

function refused(find: () => unknown, says: RegExp): void {
  assert.throws(
    find,
    (error) => error instanceof VmError && error.code === "ERR_NO_BUSYBOX" && says.test(error.message),
  );
}

test("the named one is taken, else the first in PATH; none, or a name of none, is told", () => {
  assert.equal(findBusybox({ PATH: `/absent:${folder}` }), busybox);
  assert.equal(findBusybox({ PATH: "/absent", EROFSIFY_BUSYBOX: busybox }), busybox);
  refused(() => findBusybox({ PATH: "/absent" }), /no busybox in PATH/);
  refused(
    () => findBusybox({ PATH: folder, EROFSIFY_BUSYBOX: "/absent/busybox" }),
    /EROFSIFY_BUSYBOX=\/absent\/busybox: there is no/,
  );
  refused(() => findBusybox({ PATH: folder, EROFSIFY_BUSYBOX: "" }), /there is no such file/);
});

test("one that needs other files is refused", () => refused(() => readBusybox(busybox), /is not a static program/));
