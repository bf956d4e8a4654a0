import assert from "node:assert/strict";
import { test } from "node:test";
import { loadLibrary, optionalLibrary } from "./koffi.ts";

test("a library or a function that is missing is null when optional, an error when not", () => {
  assert.equal(optionalLibrary("libnosuch.so.9", { f: ["int"] })(), null);
  assert.equal(optionalLibrary("libc.so.6", { no_such_function: ["int"] })(), null);
  assert.throws(() => loadLibrary("libc.so.6", { no_such_function: ["int"] }), /no_such_function/);
});

test("functions are found under other names, called at once and on the pool", async () => {
  const library = loadLibrary(
    "libc.so.6",
    { absolute: ["long", "long"], strlen: ["long", "bytes"] },
    { absolute: "labs" },
  );
  assert.equal(library.absolute(-(2 ** 40)), 2 ** 40);
  assert.equal(library.strlen(Buffer.from("twelve chars\0")), 12);
  const later = new Promise((done) => library.absolute.async(-7, (_, result) => done(result)));
  assert.equal(await later, 7);
});
