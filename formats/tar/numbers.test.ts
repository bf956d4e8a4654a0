import assert from "node:assert/strict";
import { test } from "node:test";
import { decimal, headerNumber, paxTime } from "./numbers.ts";

const bytes = (text: string) => Buffer.from(text, "latin1");

test("a field inside a block is read within its bounds", () => {
  assert.equal(headerNumber(bytes("7777777"), 2, 5), 0o777);
  assert.equal(headerNumber(bytes("7\x80\x00\x01\xff"), 1, 4), 1);
});

test("base-256 up to ±2^53, not beyond", () => {
  const field = (hex: string) => headerNumber(Buffer.from(hex, "hex"), 0, hex.length / 2);
  assert.equal(field("80001fffffffffffff"), 2 ** 53 - 1);
  assert.equal(field("800020000000000000"), Number.NaN);
  assert.equal(field("ffe0000000000000"), Number.NaN);
  assert.equal(field("ffe0000000000001"), 1 - 2 ** 53);
  assert.equal(field("bfffffffffffffffffffffff"), Number.NaN);
  assert.equal(field("c00000000000000000000000"), Number.NaN);
  assert.equal(field("ffffffffffffffffffffffff"), -1);
});

test("decimal takes digits only", () => {
  for (const text of ["", "-1", "+1", " 1", "1 ", "1.0", "0x1", "9007199254740992", "99999999999999999999"])
    assert.equal(decimal(bytes(text), 0, text.length), Number.NaN, text);
  assert.equal(decimal(bytes("9007199254740991"), 0, 16), 2 ** 53 - 1);
  assert.equal(decimal(bytes("a123b"), 1, 4), 123);
});

test("PAX times round down", () => {
  for (const [text, seconds, nanos] of [
    ["0", 0, 0],
    ["1350244992.023960108", 1350244992, 23960108],
    ["12.", 12, 0],
    ["1.5", 1, 500000000],
    ["1.0000000019", 1, 1],
    ["-0", 0, 0],
    ["-0.5", -1, 500000000],
    ["-1.5", -2, 500000000],
    ["-1", -1, 0],
    ["-0.0000000001", -1, 999999999],
    ["-5.9999999999", -6, 0],
    ["1.99999999999999999999", 1, 999999999],
  ] as const)
    assert.deepEqual(paxTime(bytes(text), 0, text.length), { seconds, nanos }, text);
  for (const text of ["", "-", ".5", "1.x", "1e3", "--1", "1.5.2", "9007199254740992"])
    assert.equal(paxTime(bytes(text), 0, text.length), null, text);
});
