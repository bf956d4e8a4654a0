import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { RESULT, X86_64_CALLS as SYS, SyscallProgram } from "./index.ts";

// The programs run on the machine itself, so this needs Linux on x86-64.
const options = { skip: process.arch !== "x64" && "not an x86-64 machine" };
const folder = mkdtempSync(join(tmpdir(), "erofsify-elf-"));
after(() => rmSync(folder, { recursive: true }));
const ENOENT = 2;
const EACCES = 13;

function run(program: SyscallProgram) {
  const path = join(folder, "program");
  writeFileSync(path, program.build(), { mode: 0o755 });
  const { status, stdout, stderr, error } = spawnSync(path, { env: {} });
  if (error) throw error;
  return { status, stdout: stdout.toString(), stderr: stderr.toString() };
}
const z = (text: string) => Buffer.from(`${text}\0`);

test("a program writes and ends with a status", options, () => {
  const text = Buffer.from("hello\n");
  const program = new SyscallProgram().call(SYS.write, [1, text, text.length]).exit(7);
  assert.deepEqual(run(program), { status: 7, stdout: "hello\n", stderr: "" });
});

test("execve gets exact arguments and environment", options, () => {
  const args = ["printf", "[%s]", "a b", "'\"\\$x", "new\nline", "", "é"];
  const program = new SyscallProgram().call(SYS.execve, [z("/usr/bin/printf"), args.map(z), ["A=1"].map(z)]).exit(1);
  assert.equal(run(program).stdout, "[a b]['\"\\$x][new\nline][][é]");
  const env = ["ODD.name=x y", "EMPTY=", "Q='"];
  const show = new SyscallProgram().call(SYS.execve, [z("/usr/bin/env"), ["env"].map(z), env.map(z)]).exit(1);
  assert.equal(run(show).stdout, env.map((line) => `${line}\n`).join(""));
});

test("a failed call says what its error is for, and only then", options, () => {
  const failures = [
    { errno: EACCES, message: "no access\n", status: 126 },
    { errno: ENOENT, message: "not there\n", status: 127 },
    { message: "something else\n", status: 125 },
  ];
  const change = (path: string) => new SyscallProgram().call(SYS.chdir, [z(path)], failures).exit(0);
  assert.deepEqual(run(change("/")), { status: 0, stdout: "", stderr: "" });
  assert.deepEqual(run(change("/no/such")), { status: 127, stdout: "", stderr: "not there\n" });
  assert.deepEqual(run(change("/etc/passwd")), { status: 125, stdout: "", stderr: "something else\n" });
});

test("errors to pass over are no failure; others still are", options, () => {
  const failures = [{ message: "failed\n", status: 9 }];
  const go = (path: string, passOver: number[]) =>
    run(new SyscallProgram().call(SYS.chdir, [z(path)], { passOver, failures }).exit(3)).status;
  assert.equal(go("/no/such", [ENOENT, EACCES]), 3);
  assert.equal(go("/no/such", [EACCES, ENOENT]), 3);
  assert.equal(go("/no/such", [EACCES]), 9);
  assert.equal(go("/etc/passwd", [ENOENT, EACCES]), 9);
});

test("the kept result is an argument of the next call, in every place", options, () => {
  const path = join(folder, "written");
  const O_WRONLY_CREAT_TRUNC = 0o1101;
  const text = Buffer.from("through a descriptor");
  const program = new SyscallProgram()
    .call(SYS.open, [z(path), O_WRONLY_CREAT_TRUNC, 0o644], "keep")
    .call(SYS.write, [RESULT, text, text.length])
    .exit(0);
  assert.equal(run(program).status, 0);
  assert.equal(spawnSync("cat", [path]).stdout.toString(), text.toString());
  // write(1, …, RESULT): the length is the number of bytes that the call before wrote.
  const again = new SyscallProgram()
    .call(SYS.write, [1, Buffer.from("abc"), 3], "keep")
    .call(SYS.write, [1, Buffer.from("defgh"), RESULT])
    .exit(0);
  assert.equal(run(again).stdout, "abcdef");
});

test("arguments beyond 32 bits and below zero arrive whole", options, () => {
  const program = new SyscallProgram().call(SYS.chdir, [-1], [{ errno: 14, message: "EFAULT\n", status: 14 }]).exit(0);
  assert.deepEqual(run(program), { status: 14, stdout: "", stderr: "EFAULT\n" });
  assert.throws(() => new SyscallProgram().call(1, [2 ** 53]), RangeError);
  assert.throws(() => new SyscallProgram().call(1, [1, 2, 3, 4, 5, 6, 7]), RangeError);
});

test("bytes that the kernel changes are seen by later calls, and equal bytes are memory of their own", options, () => {
  const RLIMIT_CORE = 4;
  const limit = Buffer.alloc(16);
  limit.writeUInt32LE(7, 0);
  limit.writeUInt32LE(77, 8);
  const read = { inout: new Uint8Array(16) };
  const equal = { inout: new Uint8Array(16) };
  const program = new SyscallProgram()
    .call(SYS.prlimit64, [0, RLIMIT_CORE, limit, 0])
    .call(SYS.prlimit64, [0, RLIMIT_CORE, 0, read])
    .call(SYS.write, [1, read, 16])
    .call(SYS.write, [1, equal, 16])
    .exit(0);
  assert.deepEqual(Buffer.from(run(program).stdout), Buffer.concat([limit, new Uint8Array(16)]));
});
