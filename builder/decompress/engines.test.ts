import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipEngine } from "./engines.ts";

const [there, absent] = [() => true, () => false];

test("gzip: ISA-L where it is installed, zlib elsewhere", () => {
  for (const setting of [undefined, "", "auto"]) {
    assert.equal(gzipEngine("auto", setting, there), "isal");
    assert.equal(gzipEngine("auto", setting, absent), "zlib");
  }
});

test("gzip: EROFSIFY_GZIP decides, but not over the caller", () => {
  assert.equal(gzipEngine("auto", "zlib", there), "zlib");
  assert.equal(gzipEngine("auto", "isal", absent), "isal");
  assert.equal(gzipEngine("isal", "zlib", there), "isal");
  assert.equal(gzipEngine("zlib", "isal", there), "zlib");
});

test("gzip: another value of EROFSIFY_GZIP is told", () => {
  assert.throws(() => gzipEngine("auto", "ZLIB", there), /EROFSIFY_GZIP is "ZLIB", expected isal, zlib or auto/);
});
