import assert from "node:assert/strict";
import { closeSync, fstatSync, openSync } from "node:fs";
import { test } from "node:test";
import { addressOf, socketPair, UnixSocket } from "../../sys/index.ts";
import { Wire } from "./wire.ts";

/** Two ends; what comes to the second is collected. */
function pair() {
  const [a, b] = socketPair();
  const got: { body: unknown; fds: number[] }[] = [];
  const wakeUps: (() => void)[] = [];
  const reasons: string[] = [];
  const wake = () => {
    for (const up of wakeUps.splice(0)) up();
  };
  const events = {
    message(body: unknown, fds: number[]) {
      got.push({ body, fds });
      wake();
    },
    closed(reason: string) {
      reasons.push(reason);
      wake();
    },
  };
  const until = async (done: () => boolean) => {
    while (!done()) await new Promise<void>((up) => wakeUps.push(up));
  };
  return { a, right: new Wire(b, events), got, reasons, until };
}
const deaf = { message: () => assert.fail("not expected"), closed: () => {} };

test("messages come in order, with their descriptors", async () => {
  const { a, right, got, until } = pair();
  const left = new Wire(a, deaf);
  const own = openSync("/dev/null", "r");
  left.send({ hello: "wörld" });
  left.send(
    [1],
    Array.from({ length: 100 }, () => own),
  );
  left.send("x".repeat(60_000), [own]);
  left.send(null);
  await until(() => got.length === 4);
  assert.deepEqual(
    got.map(({ fds }) => fds.length),
    [0, 100, 1, 0],
  );
  assert.deepEqual(got[0]?.body, { hello: "wörld" });
  assert.equal((got[2]!.body as string).length, 60_000);
  const { rdev } = fstatSync(own);
  for (const { fds } of got)
    for (const fd of fds) {
      assert.equal(fstatSync(fd).rdev, rdev);
      closeSync(fd);
    }
  closeSync(own);
  left.close();
  right.close();
});

test("the end of the other side is told, once", async () => {
  const { a, reasons, until, right } = pair();
  closeSync(a);
  await until(() => reasons.length > 0);
  assert.deepEqual(reasons, ["the other side has closed"]);
  right.send("nobody hears");
  right.close();
});

test("what is no message ends the wire", async () => {
  const { a, reasons, got, until } = pair();
  const bytes = Buffer.allocUnsafeSlow(100);
  bytes.fill(0xff);
  assert.equal(new UnixSocket(a).send(addressOf(bytes), 8), 8);
  await until(() => reasons.length > 0);
  assert.match(reasons[0]!, /a message of 4294967295 bytes/);
  assert.equal(got.length, 0);
  closeSync(a);
});

test("a wire that is closed here says nothing", async () => {
  const { a, right, reasons } = pair();
  right.close();
  await new Promise((done) => setTimeout(done, 20));
  assert.deepEqual(reasons, []);
  closeSync(a);
});
