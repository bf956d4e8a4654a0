import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { Rehearsal } from "./rehearsal.ts";

const left = () => readdirSync(tmpdir()).filter((name) => name.startsWith(`blobd-rehearsal-${process.pid}-`));

// It throws when a request of its script is answered with an error.
for (const queue of [0, 1])
  test(`queue ${queue} is rehearsed, and leaves nothing`, () => {
    let looks = 0;
    const rehearsal = new Rehearsal();
    rehearsal.run(queue, () => ++looks > 10);
    assert.ok(looks > 10, "it stops when it is asked");
    rehearsal.run(queue, () => ++looks > 20);
    assert.ok(looks > 20, "it goes on");
    assert.deepEqual(left(), []);
  });

test("a rehearsal ends", () => {
  const rehearsal = new Rehearsal();
  rehearsal.run(0, () => false);
  rehearsal.run(0, () => assert.fail("it was done"));
});
