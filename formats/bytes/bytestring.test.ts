import { strict as assert } from "node:assert";
import { test } from "node:test";
import { escapeBytes, fromBytes, fromText, mapKey, toBytes, toText } from "./bytestring.ts";

test("every byte survives the way into a ByteString and back", () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.deepEqual([...toBytes(fromBytes(all))], [...all]);
  assert.equal(fromBytes(all).length, 256);
});

test("fromBytes takes a range, also of a slice of a larger buffer", () => {
  const slice = new TextEncoder().encode("0123456789").subarray(2, 8);
  assert.equal(fromBytes(slice, 1, 3), "34");
  assert.equal(fromBytes(slice), "234567");
});

test("text becomes the bytes of its UTF-8 form, and comes back", () => {
  assert.equal(fromText("é"), "\xc3\xa9");
  assert.equal(toText("\xc3\xa9"), "é");
  assert.equal(toText("a\xff"), "a\ufffd");
});

test("escapeBytes is plain ASCII, without spaces, and no two inputs look alike", () => {
  assert.equal(escapeBytes("plain-name.txt"), "plain-name.txt");
  assert.equal(escapeBytes("a b\n\\\xff\0"), "a\\x20b\\x0a\\\\\\xff\\x00");
  const singles = Array.from({ length: 256 }, (_, i) => escapeBytes(String.fromCharCode(i)));
  assert.equal(new Set(singles).size, 256);
  assert.ok(singles.every((text) => /^[\x21-\x7e]+$/.test(text)));
});

test("a map key tells long strings of one length apart, and quickly", () => {
  const long = (i: number) => "v".repeat(60_000) + String(i).padStart(5, "0");
  const keys = new Set(Array.from({ length: 2000 }, (_, i) => mapKey(long(i))));
  assert.equal(keys.size, 2000);
  assert.equal(mapKey("short"), "short");
});
