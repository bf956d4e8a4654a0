import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ControlReader, MAX_CONTROL_LINE } from "./control.ts";
import { EndMark } from "./end-mark.ts";
import { Tail } from "./tail.ts";
import { Timeline } from "./timeline.ts";

const MARK = "0123456789abcdef";

test("bytes up to the end mark pass, in whatever pieces they come", () => {
  fc.assert(
    fc.property(
      // Prefixes of the mark in the data are what could confuse it.
      fc.array(fc.constantFrom("x", "0", "01", "0123456789abcde", "\0", MARK.slice(1)), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 30 }),
      fc.boolean(),
      (parts, cuts, withMark) => {
        const data = parts.join("");
        fc.pre(!data.includes(MARK) && !`${data}${MARK}`.slice(0, -1).includes(MARK));
        const stream = Buffer.from(withMark ? data + MARK : data);
        const mark = new EndMark(MARK);
        const out: Buffer[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const length = cuts[i % cuts.length]!;
          out.push(Buffer.from(mark.push(stream.subarray(at, at + length))));
          at += length;
        }
        assert.equal(mark.seen, withMark);
        if (!withMark) out.push(mark.rest());
        assert.equal(Buffer.concat(out).toString(), data);
      },
    ),
    { seed: 3, numRuns: 500 },
  );
});

test("what cannot begin the mark is passed on at once, and what comes behind it is dropped", () => {
  const mark = new EndMark(MARK);
  assert.equal(mark.push(Buffer.from("prompt> 012")).toString(), "prompt> ");
  assert.equal(mark.push(Buffer.from("x")).toString(), "012x");
  assert.equal(mark.push(Buffer.from(`${MARK}late`)).toString(), "");
  assert.equal(mark.push(Buffer.from("later")).toString(), "");
});

test("messages of the guest, in whatever pieces they come", () => {
  const text = "init 2.75\nmounted\nexit 42\nfailed mounting: no such é\n";
  for (const size of [1, 3, 1000]) {
    const reader = new ControlReader();
    const bytes = Buffer.from(text);
    const found = [];
    for (let at = 0; at < bytes.length; at += size) found.push(...reader.push(bytes.subarray(at, at + size)));
    assert.deepEqual(found, [
      { kind: "init", kernelSeconds: 2.75 },
      { kind: "mounted" },
      { kind: "exit", status: 42 },
      { kind: "failed", text: "mounting: no such é" },
    ]);
  }
});

test("a guest that talks nonsense is not believed and takes no memory", () => {
  const reader = new ControlReader();
  assert.deepEqual(reader.push(Buffer.from("exit\nexit -1\nexit 1e9\nexit 99999\nEXIT 0\n\0\n")), []);
  for (let i = 0; i < 100; i++) assert.deepEqual(reader.push(Buffer.alloc(MAX_CONTROL_LINE, "x")), []);
  assert.deepEqual(reader.push(Buffer.from("\nexit 0\n")), [{ kind: "exit", status: 0 }]);
});

test("the tail of a log is text without control sequences", () => {
  const tail = new Tail(20);
  tail.push(Buffer.from("a long beginning that goes\n"));
  tail.push(Buffer.from("\x1b[31mred\x1b[0m\r\nbell\x07\n"));
  assert.equal(tail.text(), "red\nbell");
});

test("the parts of the time to the first output add up", () => {
  const timeline = new Timeline();
  timeline.initAt(0);
  timeline.mountedNow();
  timeline.outputNow();
  timeline.outputNow();
  const { vmmMs, kernelMs, mountsMs, commandMs } = timeline.split();
  assert.ok(Math.abs(vmmMs + kernelMs + mountsMs + commandMs - timeline.outputMs!) < 1e-6);
  assert.deepEqual(new Timeline().split(), { vmmMs: 0, kernelMs: 0, mountsMs: 0, commandMs: 0 });
});
