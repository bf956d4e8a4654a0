import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { tempDir } from "../../testkit/index.ts";
import { parseJobSettings } from "../settings/index.ts";
import {
  ask,
  beat,
  CONVERSIONS,
  cancel,
  countByStatus,
  enqueue,
  fail,
  find,
  findDone,
  follow,
  forget,
  giveBackLost,
  type Held,
  ignore,
  LOOKUPS,
  list,
  type OpenedQueue,
  openQueue,
  retry,
  succeed,
  type Target,
  take,
} from "./index.ts";

// On PGlite; the same statements run on PostgreSQL in workers.system.test.ts.

const settings = parseJobSettings(
  Buffer.from('{"registries": [{"name": "registry.lan"}], "retries": {"limit": 1, "delaySeconds": 1}}'),
);
const DIGEST = `sha256:${"ab".repeat(32)}` as const;
const directory = tempDir();
let queue: OpenedQueue;

before(async () => {
  queue = await openQueue(directory, settings, (message) => assert.fail(message));
});
after(() => queue.close());
beforeEach(async () => {
  await queue.db.query("DELETE FROM erofsify.conversion");
  await queue.boss.clearStorage();
});

const app = (more: object = {}) =>
  ({ origin: "distribution", registry: "registry.lan", repository: "team/app", tag: "1", ...more }) as const;
const target: Target = {
  digest: DIGEST,
  form: "tag",
  targetTag: "1-erofs",
  verity: false,
  platforms: ["linux/amd64"],
  sourceBytes: 1000,
};

async function askAndTake(more: object = {}): Promise<Held> {
  await ask(queue, [app(more)]);
  return taken(LOOKUPS, "w");
}

async function taken(of: typeof LOOKUPS | typeof CONVERSIONS, worker: string): Promise<Held> {
  const held = await take(queue, of, worker);
  assert.ok(held, `nothing to take from ${of}`);
  return held;
}

/** A conversion that a worker holds. */
async function running(worker = "w"): Promise<Held> {
  assert.equal(await enqueue(queue, await askAndTake(), target, undefined), "queued");
  return taken(CONVERSIONS, worker);
}

/** Makes what waits for another attempt due now. */
const hurry = () =>
  queue.db.query("UPDATE erofsify_boss.job SET start_after = now() - interval '1 second' WHERE state = 'retry'");
const status = async (id: string) => (await find(queue.db, id))?.status;
const failure = (more: object = {}) => ({
  code: "ERR_NETWORK",
  message: "the registry is down",
  permanent: false,
  ...more,
});
const deadLetters = () => queue.boss.getQueueSize("erofsify-dead");

test("from a push to done", async () => {
  const held = await running();
  assert.deepEqual([held.status, held.attempt, held.targetTag, held.sourceBytes], ["running", 1, "1-erofs", 1000]);
  const beats = [{ id: held.id, attempt: 1, phase: "pushing" as const, doneBytes: 5, totalBytes: 10 }];
  assert.deepEqual([...(await beat(queue, "w", beats))], [[held.id, false]]);
  assert.equal((await find(queue.db, held.id))?.phase, "pushing");
  assert.equal(await succeed(queue, held, { sourceBytes: 1000, targetBytes: 800, targetDigest: DIGEST }), true);
  const done = await find(queue.db, held.id);
  assert.deepEqual([done?.status, done?.targetBytes, done?.targetDigest, done?.worker], ["done", 800, DIGEST, null]);
  assert.equal(await take(queue, CONVERSIONS, "w"), undefined);
});

test("a hundred events of one image are one conversion; later ones are answered by it", async () => {
  const ids = await ask(
    queue,
    Array.from({ length: 100 }, () => app()),
  );
  assert.equal(new Set(ids).size, 1);
  const first = await taken(LOOKUPS, "w");
  assert.equal(await take(queue, LOOKUPS, "w"), undefined);
  assert.equal(first.events, 100);
  assert.equal(await enqueue(queue, first, target, undefined), "queued");
  // While it waits.
  const second = await askAndTake();
  assert.equal(await enqueue(queue, second, target, undefined), "merged");
  // When it is done, by another tag's event of the same digest.
  const held = await taken(CONVERSIONS, "w");
  await succeed(queue, held, { sourceBytes: 1, targetBytes: 1, targetDigest: DIGEST });
  const third = await askAndTake();
  const done = await findDone(queue, third, target);
  assert.equal(done?.id, held.id);
  assert.equal(await enqueue(queue, third, target, done), "merged");
  assert.equal((await follow(queue.db, third.id))?.id, held.id);
  assert.equal((await find(queue.db, held.id))?.events, 102);
  assert.deepEqual(
    (await list(queue.db, { limit: 10 })).map(({ id }) => id),
    [held.id],
  );
});

test("two lookups of one image at the same time queue it once", async () => {
  await ask(queue, [app(), app({ digest: DIGEST })]);
  const [one, other] = [await taken(LOOKUPS, "w1"), await taken(LOOKUPS, "w2")];
  const outcomes = await Promise.all([
    enqueue(queue, one, target, undefined),
    enqueue(queue, other, target, undefined),
  ]);
  assert.deepEqual(outcomes.sort(), ["merged", "queued"]);
});

test("a failure is tried again after a pause, then it is a dead letter", async () => {
  const held = await running();
  await fail(queue, held, failure());
  const waiting = await find(queue.db, held.id);
  assert.deepEqual([waiting?.status, waiting?.reason, waiting?.worker], ["queued", "the registry is down", null]);
  assert.ok(waiting!.nextTry!.getTime() > Date.now() - 500);
  assert.equal(await take(queue, CONVERSIONS, "w"), undefined, "not before its time");
  await hurry();
  const again = await taken(CONVERSIONS, "w");
  assert.deepEqual([again.id, again.attempt], [held.id, 2]);
  await fail(queue, again, failure());
  assert.equal(await status(held.id), "failed");
  assert.equal(await deadLetters(), 1);
});

test("what can only fail again is not tried again; a stopped worker's attempt does not count", async () => {
  const held = await running();
  await fail(queue, held, failure({ free: true, code: "ERR_WORKER_STOPPED" }));
  await hurry();
  const again = await taken(CONVERSIONS, "w");
  await fail(queue, again, failure({ free: true }));
  await hurry();
  const third = await taken(CONVERSIONS, "w");
  assert.equal(third.attempt, 3, "beyond the limit of retries, for none of them counted");
  await fail(queue, third, failure({ permanent: true, code: "ERR_BAD_VALUE" }));
  assert.equal(await status(held.id), "failed");
  assert.equal(await deadLetters(), 1);
});

test("a silent worker loses its job, and what it says afterwards changes nothing", async () => {
  const held = await running("w1");
  assert.equal(await giveBackLost(queue, 20), 0);
  assert.equal(await giveBackLost(queue, 0), 1);
  assert.match((await find(queue.db, held.id))!.reason!, /the worker w1 ended or fell silent/);
  await hurry();
  const again = await taken(CONVERSIONS, "w2");
  assert.equal(await succeed(queue, held, { sourceBytes: 1, targetBytes: 1, targetDigest: null }), false);
  assert.equal(await fail(queue, held, failure()), false);
  assert.deepEqual([...(await beat(queue, "w1", [{ id: held.id, attempt: 1 }]))], []);
  assert.deepEqual([...(await beat(queue, "w2", [{ id: held.id, attempt: 2 }]))], [[held.id, false]]);
  assert.equal(await succeed(queue, again, { sourceBytes: 1, targetBytes: 1, targetDigest: null }), true);
});

test("a waiting one is cancelled at once, a running one by its worker, a lost one by the next", async () => {
  const [id] = await ask(queue, [app()]);
  assert.equal(await cancel(queue, id!), true);
  assert.equal(await status(id!), "cancelled");
  assert.equal(await cancel(queue, id!), false);
  assert.equal(await take(queue, LOOKUPS, "w"), undefined);

  const held = await running();
  assert.equal(await cancel(queue, held.id), true);
  assert.deepEqual([...(await beat(queue, "w", [{ id: held.id, attempt: 1 }]))], [[held.id, true]]);
  await fail(queue, held, failure({ code: "ERR_CANCELLED" }));
  assert.equal(await status(held.id), "cancelled");

  const lost = await running();
  await cancel(queue, lost.id);
  await giveBackLost(queue, 0);
  assert.equal(await status(lost.id), "cancelled");
  assert.equal(await deadLetters(), 0);
  assert.equal(await cancel(queue, "00000000-0000-0000-0000-000000000000"), undefined);
});

test("one that was cancelled while it was looked up is not queued", async () => {
  const held = await askAndTake();
  assert.equal(await cancel(queue, held.id), true);
  assert.equal(await enqueue(queue, held, target, undefined), "cancelled");
  assert.equal(await status(held.id), "cancelled");
});

test("what has ended is looked up and converted again when somebody wants it", async () => {
  const held = await running();
  assert.equal(await retry(queue, held.id), false);
  await succeed(queue, held, { sourceBytes: 1, targetBytes: 1, targetDigest: DIGEST });
  assert.equal(await retry(queue, held.id), true);
  assert.equal(await retry(queue, held.id), false);
  const again = await taken(LOOKUPS, "w");
  assert.deepEqual([again.id, again.force, again.digest], [held.id, true, DIGEST]);
  assert.equal(await enqueue(queue, again, target, undefined), "queued");
  assert.equal(await retry(queue, "00000000-0000-0000-0000-000000000000"), undefined);
});

test("what is left alone is told as failed to a person, and kept apart when a registry told of it", async () => {
  await ignore(queue, await askAndTake(), "no rule wants it", "ERR_IGNORED");
  await ignore(queue, await askAndTake({ origin: "api" }), "is no image", "ERR_UNSUPPORTED");
  const counts = await countByStatus(queue.db);
  assert.deepEqual([counts.get("ignored"), counts.get("failed")], [1, 1]);
});

test("what is over for long is forgotten, what is not over never", async () => {
  const held = await running();
  await succeed(queue, held, { sourceBytes: 1, targetBytes: 1, targetDigest: DIGEST });
  await ask(queue, [app({ tag: "2" })]);
  assert.equal(await forget(queue.db, 30), 0);
  await queue.db.query("UPDATE erofsify.conversion SET finished = now() - interval '31 days'");
  assert.equal(await forget(queue.db, 30), 1);
});

test("a page of the list begins where the one before ended", async () => {
  await ask(
    queue,
    [1, 2, 3, 4, 5].map((tag) => app({ tag: String(tag) })),
  );
  const first = await list(queue.db, { limit: 2 });
  const rest = await list(queue.db, { limit: 9, after: first.at(-1)!.id });
  assert.equal(new Set([...first, ...rest].map(({ id }) => id)).size, 5);
  assert.equal((await list(queue.db, { limit: 9, status: "done" })).length, 0);
});

test("an embedded queue is one process's; what cannot be read is set aside", async (t) => {
  await assert.rejects(
    openQueue(directory, settings, () => {}),
    {
      code: "ERR_DATABASE_BUSY",
      message: /another process has this queue open; several workers need PostgreSQL/,
    },
  );
  const { writeFileSync, mkdirSync, readdirSync } = await import("node:fs");
  const broken = tempDir(t);
  mkdirSync(`${broken}/data/global`, { recursive: true });
  writeFileSync(`${broken}/data/PG_VERSION`, "18\n");
  const warnings: string[] = [];
  const fresh = await openQueue(broken, settings, (message) => warnings.push(message));
  await ask(fresh, [app()]);
  await fresh.close();
  assert.match(warnings.join(), /cannot be read .* it is kept as .*broken-\d+, an empty one begins/);
  assert.equal(readdirSync(broken).filter((name) => name.startsWith("broken-")).length, 1);
});
