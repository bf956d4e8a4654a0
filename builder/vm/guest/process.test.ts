import assert from "node:assert/strict";
import { test } from "node:test";
import type { ExecutionConfig } from "../../../formats/oci/index.ts";
import { VmError } from "../errors.ts";
import { guestProcess } from "./process.ts";

const config: ExecutionConfig = {
  user: "",
  workingDir: "",
  env: [],
  entrypoint: null,
  cmd: null,
  labels: {},
  exposedPorts: [],
  volumes: [],
};
const accounts = { passwd: "app:x:1000:1000::/home/app:/bin/sh\n", group: "" };
const process = (changes: Partial<ExecutionConfig>, args: string[] = [], term?: string) =>
  guestProcess({ ...config, ...changes }, accounts, { args, hostname: "box", ...(term !== undefined && { term }) });

test("Entrypoint, then Cmd; arguments replace Cmd only", () => {
  assert.deepEqual(process({ entrypoint: ["e", "1"], cmd: ["c"] }).argv, ["e", "1", "c"]);
  assert.deepEqual(process({ entrypoint: ["e", "1"], cmd: ["c"] }, ["a", "b"]).argv, ["e", "1", "a", "b"]);
  assert.deepEqual(process({ cmd: ["c", "d"] }).argv, ["c", "d"]);
  assert.deepEqual(process({ cmd: ["c"] }, ["a"]).argv, ["a"]);
});

test("arguments are passed as they are", () => {
  const odd = ["", " ", "a b", "'\"$(x)`\\", "new\nline", "-n", "é"];
  assert.deepEqual(process({ entrypoint: ["e"] }, odd).argv, ["e", ...odd]);
});

test("the image's environment stands, defaults fill up what it does not set", () => {
  const found = process({ env: ["LANG=C", "HOME=/elsewhere", "EMPTY=", "a.b-c=1 2"], cmd: ["x"], user: "app" });
  assert.deepEqual(found.env, [
    ...["LANG=C", "HOME=/elsewhere", "EMPTY=", "a.b-c=1 2"],
    ...["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=box"],
  ]);
  const bare = process({ cmd: ["x"], user: "app" }, [], "xterm");
  assert.ok(bare.env.includes("HOME=/home/app") && bare.env.includes("TERM=xterm"));
});

test("the command is looked for in the image's PATH", () => {
  assert.deepEqual(process({ env: ["PATH=/a:/b"], cmd: ["x"] }).searchPath, ["/a", "/b"]);
  assert.deepEqual(process({ env: ["PATH=/a::/b:"], cmd: ["x"] }).searchPath, ["/a", ".", "/b", "."]);
  assert.deepEqual(process({ env: ["PATH="], cmd: ["x"] }).searchPath, ["."]);
});

test("the working directory is absolute", () => {
  assert.equal(process({ cmd: ["x"] }).cwd, "/");
  assert.equal(process({ cmd: ["x"], workingDir: "/srv/a b" }).cwd, "/srv/a b");
  assert.equal(process({ cmd: ["x"], workingDir: "srv" }).cwd, "/srv");
});

test("no command, and what no C string can hold, are refused", () => {
  const refused = (error: unknown) => error instanceof VmError && error.code === "ERR_NO_COMMAND";
  assert.throws(() => process({}), refused);
  assert.throws(() => process({ cmd: [] }), refused);
  assert.throws(() => process({ cmd: [""] }), refused);
  assert.throws(() => process({ cmd: ["x"] }, ["a\0b"]), refused);
  assert.throws(() => process({ cmd: ["x"], env: ["A=\0"] }), refused);
  assert.throws(() => process({ cmd: ["x"], workingDir: "/\0" }), refused);
});
