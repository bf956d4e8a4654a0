import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { Rehearsal } from "./rehearsal.ts";

const left = () => readdirSync(tmpdir()).filter((name) => name.startsWith(`blobd-rehearsal-${process.pid}-`));

/** Whether it was looked at so often. */
function stopAfter(rounds: number): () => boolean {
  let looks = 0;
  return () => ++looks > rounds + 1;
}

// It throws when a request of its script is answered with an error.
for (const [queue, hasWindow] of [
  [0, false],
  [1, false],
  [1, true],
] as const)
  test(`queue ${queue} is rehearsed, and leaves nothing; with a window: ${hasWindow}`, () => {
    // V8's and Node's own are there after the first.
    new Rehearsal(hasWindow).run(queue, stopAfter(1));
    const before = readdirSync("/proc/self/fd").length;
    let looks = 0;
    const rehearsal = new Rehearsal(hasWindow);
    rehearsal.run(queue, () => ++looks > 10);
    assert.ok(looks > 10, "it stops when it is asked");
    rehearsal.run(queue, () => ++looks > 20);
    assert.ok(looks > 20, "it goes on");
    assert.deepEqual(left(), []);
    assert.equal(readdirSync("/proc/self/fd").length, before);
  });

test("a rehearsal ends", () => {
  const rehearsal = new Rehearsal(true);
  rehearsal.run(0, () => false);
  rehearsal.run(0, () => assert.fail("it was done"));
});
