import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAdd, formatControlError, formatPlaced, parseAdd, parsePlaced } from "./index.ts";

const line = (text: string) => Buffer.from(text.replace(/\n$/, ""));

test("files to be added, and where they lie, come back as they were", () => {
  const request = { files: [{ path: "/a" }, { path: "/b", offset: 4096 }], isBehind: true };
  assert.deepEqual(parseAdd(line(formatAdd(request))), request);
  const placed = [{ path: "/a", offset: 0, bytes: 4096, isMapped: false }];
  assert.deepEqual(parsePlaced(line(formatPlaced(placed))), placed);
  assert.deepEqual(parsePlaced(line(formatControlError("ERR_WINDOW", "too large"))), {
    code: "ERR_WINDOW",
    error: "too large",
  });
});

test("what is no request is refused with what was expected", () => {
  for (const [text, told] of [
    ["{}", /version/],
    ['{"version":1,"add":{}}', /add/],
    ['{"version":1,"add":[{"offset":1}]}', /path/],
    ['{"version":1,"add":[{"path":"/a","offset":-1}]}', /offset/],
    ['{"version":1,"add":[{"path":"/a","offset":1e300}]}', /offset/],
    [`{"version":1,"add":[${Array(1025).fill('{"path":"/a"}').join()}]}`, /add/],
    ["not json", /JSON|message/],
  ] as const)
    assert.throws(() => parseAdd(Buffer.from(text)), told, text.slice(0, 60));
});
