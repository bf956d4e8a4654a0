import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { formatSettings } from "./settings.ts";

const settings = {
  supervised: true,
  tty: false,
  input: true,
  endMark: "0a1b",
  pmemSizes: [2097152, 4194304],
  readOnly: false,
  hostname: 'a\'b $(exit) "c"\\\n`d`',
  halt: "poweroff",
} as const;

test("a shell that reads the settings gets the values as they are", () => {
  const names = ["supervised", "tty", "rows", "input", "end_mark", "pmem_sizes", "scratch", "hostname", "halt"];
  const script = `${formatSettings(settings)}printf '<%s>' ${names.map((name) => `"$${name}"`).join(" ")}`;
  const { stdout } = spawnSync("sh", ["-eu", "-c", script]);
  const values = ["1", "", "", "1", "0a1b", "2097152 4194304", "", settings.hostname, "poweroff"];
  assert.equal(stdout.toString(), values.map((value) => `<${value}>`).join(""));
});

test("the size of a terminal is passed on when it is known", () => {
  assert.match(formatSettings({ ...settings, rows: 33, columns: 101 }), /^rows='33'\ncolumns='101'$/m);
  assert.match(formatSettings({ ...settings, rows: 0, columns: 0 }), /^rows=''\ncolumns=''$/m);
});
