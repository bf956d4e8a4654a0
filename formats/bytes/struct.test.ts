import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FormatError } from "./errors.ts";
import { getU53, setU53, struct } from "./struct.ts";

const Record = struct("record", 31, {
  a: "u8",
  b: "u16",
  c: "i32",
  d: "u32",
  e: "u53",
  f: "u64",
  g: "bytes4",
});

test("fields lie one behind the other in the order of the table", () => {
  assert.deepEqual(Record.at, { a: 0, b: 1, c: 3, d: 7, e: 11, f: 19, g: 27 });
  assert.equal(Record.size, 31);
});

test("a table that misses the stated size is refused when it is declared", () => {
  assert.throws(() => struct("short", 5, { a: "u32" }), /struct short: fields add up to 4 bytes, 5 were declared/);
  assert.throws(() => struct("long", 5, { a: "u32", b: "bytes2" }), /add up to 6 bytes, 5 were declared/);
});

test("a field with the name of something that every view has is refused when it is declared", () => {
  for (const name of ["base", "data", "dv"])
    assert.throws(() => struct("taken", 4, { [name]: "u32" }), {
      message: `struct taken: a view has a ${name} of its own`,
    });
  const view = struct("free", 8, { first: "u32", offset: "u32" }).view(new Uint8Array(8));
  view.offset = 7;
  assert.deepEqual([view.first, view.offset], [0, 7]);
});

test("fields are read and written little-endian at the view's base, also in a slice of a larger buffer", () => {
  const whole = new Uint8Array(100).fill(0xee);
  const data = whole.subarray(7, 7 + 62);
  const view = Record.view(data);
  view.base = 31;
  view.a = 0x01;
  view.b = 0x0302;
  view.c = -2;
  view.d = 0xfffefdfc;
  view.e = 2 ** 53 - 1;
  view.f = 0xf8f7f6f5f4f3f2f1n;
  view.g = Uint8Array.of(9, 8, 7, 6);
  assert.equal(
    Buffer.from(data.subarray(31)).toString("hex"),
    "01" + "0203" + "feffffff" + "fcfdfeff" + "ffffffffffff1f00" + "f1f2f3f4f5f6f7f8" + "09080706",
  );
  const other = Record.view(data, 31);
  assert.deepEqual(
    [other.a, other.b, other.c, other.d, other.e, other.f, [...other.g]],
    [1, 0x0302, -2, 0xfffefdfc, 2 ** 53 - 1, 0xf8f7f6f5f4f3f2f1n, [9, 8, 7, 6]],
  );
  assert.ok(
    whole.subarray(0, 7 + 31).every((byte) => byte === 0xee),
    "bytes before the record are untouched",
  );
  assert.ok(
    whole.subarray(7 + 62).every((byte) => byte === 0xee),
    "bytes after the record are untouched",
  );
});

test("a record that does not fit is a FormatError with the bytes needed and left", () => {
  const data = new Uint8Array(40);
  assert.equal(Record.view(data, 9).base, 9);
  for (const offset of [10, 40, 41, -1])
    assert.throws(
      () => Record.view(data, offset),
      (error) => error instanceof FormatError && error.code === "ERR_TRUNCATED" && error.offset === offset,
    );
  assert.throws(() => Record.view(data, 10), /record at byte 10: needs 31 bytes, 30 are left/);
});

test("a raw field takes bytes of its own length only", () => {
  const view = Record.view(new Uint8Array(31));
  assert.throws(() => {
    view.g = new Uint8Array(3);
  }, /record.g: takes 4 bytes, got 3/);
});

test("a u53 field from 2^53 on is a FormatError", () => {
  const dv = new DataView(new ArrayBuffer(8));
  for (const value of [0, 1, 0xffffffff, 2 ** 32, 2 ** 53 - 1]) {
    setU53(dv, 0, value);
    assert.equal(getU53(dv, 0, "x"), value);
  }
  dv.setBigUint64(0, 2n ** 53n, true);
  assert.throws(
    () => getU53(dv, 0, "x"),
    (error) => error instanceof FormatError && error.code === "ERR_BAD_VALUE" && error.field === "x",
  );
});
