import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { checkGuestMemory, closeGuestFiles, openGuestFiles } from "./guest-files.ts";

const MIB = 1 << 20;
const work = mkdtempSync(join(tmpdir(), "guest-files-"));
after(() => rmSync(work, { recursive: true }));

function file(name: string, bytes: number): string {
  const path = join(work, name);
  writeFileSync(path, "");
  truncateSync(path, bytes);
  return path;
}
const [two, four] = [file("two", 2 * MIB), file("four", 4 * MIB)];

test("files are opened in the order of their addresses, and outlive their names", () => {
  const opened = openGuestFiles([
    { guestAddress: 2 ** 32 + 4 * MIB, path: two },
    { guestAddress: 2 ** 32, path: four },
  ]);
  assert.deepEqual(
    opened.map(({ guestAddress, bytes }) => [guestAddress, bytes]),
    [
      [2 ** 32, 4 * MIB],
      [2 ** 32 + 4 * MIB, 2 * MIB],
    ],
  );
  closeGuestFiles(opened);
});

test("addresses at and past the limits", () => {
  const at = (guestAddress: number) => () => checkGuestMemory([{ guestAddress, path: two }]);
  at(2 * MIB)();
  at(2 ** 52 - 2 * MIB)();
  for (const address of [0, 4096, 3 * MIB, 2 ** 52, Number.NaN])
    assert.throws(at(address), /guest memory 0x.*two: expected a multiple of 2 MiB/);
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ guestAddress: (1 + i) * 2 * MIB, path: two }));
  checkGuestMemory(many(128));
  assert.throws(() => checkGuestMemory(many(129)), /found 129 files, expected at most 128/);
});

test("what is no such memory is refused, with nothing left open", () => {
  const descriptors = readdirSync("/proc/self/fd").length;
  const place = 2 ** 32;
  const refused = (files: readonly [number, string][], says: RegExp) =>
    assert.throws(() => openGuestFiles(files.map(([guestAddress, path]) => ({ guestAddress, path }))), says);
  refused([[place, work]], /guest memory 0x100000000=.*: is no regular file/);
  refused([[place, "/dev/null"]], /is no regular file/);
  refused([[place, file("empty", 0)]], /has 0 bytes, expected a multiple of 2 MiB/);
  refused([[place, file("odd", 2 * MIB + 4096)]], /has 2101248 bytes/);
  refused(
    [
      [place + 2 * MIB, two],
      [place, four],
    ],
    /0x100200000=.*two: the file before it reaches to 0x100400000/,
  );
  const gone = file("gone", 2 * MIB);
  unlinkSync(gone);
  refused([[place, gone]], /ENOENT/);
  assert.equal(readdirSync("/proc/self/fd").length, descriptors);
});
