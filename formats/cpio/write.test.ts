import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from "../tree/index.ts";
import { writeCpio } from "./write.ts";

const entries = [
  { path: "dir", mode: S_IFDIR | 0o755 },
  { path: "dir/five", mode: S_IFREG | 0o644, data: Buffer.from("12345") },
  { path: "link", mode: S_IFLNK | 0o777, data: Buffer.from("dir/five") },
  { path: "console", mode: S_IFCHR | 0o600, device: [5, 1] as const },
];

test("an entry is a header of hex fields, the name and the data, each filled up to 4 bytes", () => {
  const [header, name, data] = [110, "ab\0".length + 3, 4];
  const archive = writeCpio([{ path: "ab", mode: S_IFREG | 0o644, data: Buffer.from("xyz") }]);
  const first = archive.subarray(0, header + name + data).toString("latin1");
  assert.equal(
    first,
    [
      "070701",
      ...["00000001", "000081a4", "00000000", "00000000", "00000001", "00000000", "00000003"],
      ...["00000000", "00000000", "00000000", "00000000", "00000003", "00000000"],
      "ab\0\0\0\0",
      "xyz\0",
    ].join(""),
  );
  assert.match(archive.toString("latin1"), /TRAILER!!!\0+$/);
  assert.equal(archive.length % 4, 0);
});

test("the same entries give the same bytes", () => {
  assert.deepEqual(writeCpio(entries), writeCpio(entries));
});

test("paths the form cannot hold are refused", () => {
  for (const path of ["", "/abs", "a\0b"]) assert.throws(() => writeCpio([{ path, mode: S_IFREG }]), RangeError);
});

test("python reads the archive field by field as it was meant", () => {
  // An independent reader: it walks the headers by their own sizes.
  const script = `
import sys, json
b = sys.stdin.buffer.read(); p = 0; out = []
while True:
    assert b[p:p+6] == b"070701", p
    f = [int(b[p+6+8*i:p+14+8*i], 16) for i in range(13)]
    name = b[p+110:p+110+f[11]-1].decode(); p = (p + 110 + f[11] + 3) & ~3
    if name == "TRAILER!!!": break
    out.append([name, f[1], b[p:p+f[6]].decode(), f[9], f[10]]); p = (p + f[6] + 3) & ~3
print(json.dumps(out))`;
  const { stdout, stderr } = spawnSync("python3", ["-c", script], { input: writeCpio(entries) });
  assert.equal(stderr.toString(), "");
  assert.deepEqual(JSON.parse(stdout.toString()), [
    ["dir", S_IFDIR | 0o755, "", 0, 0],
    ["dir/five", S_IFREG | 0o644, "12345", 0, 0],
    ["link", S_IFLNK | 0o777, "dir/five", 0, 0],
    ["console", S_IFCHR | 0o600, "", 5, 1],
  ]);
});
