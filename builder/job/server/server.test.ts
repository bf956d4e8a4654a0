import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { FastifyInstance, InjectOptions } from "fastify";
import { pino } from "pino";
import { tempDir } from "../../testkit/index.ts";
import { JobMetrics } from "../metrics/index.ts";
import { ask, LOOKUPS, list, type OpenedQueue, openQueue, take } from "../queue/index.ts";
import { parseJobSettings } from "../settings/index.ts";
import { createServer } from "./index.ts";

// Every answer of the service, without workers: what is asked for stays in the queue.

const settings = parseJobSettings(
  Buffer.from('{"registries": [{"name": "registry.lan:5000", "aliases": ["registry:5000", "harbor.lan"]}]}'),
);
const DIGEST = `sha256:${"ab".repeat(32)}`;
const AUTHORIZATION = "Bearer s3cret";
const directory = tempDir();
let queue: OpenedQueue;
let server: FastifyInstance;

before(async () => {
  queue = await openQueue(directory, settings, (message) => assert.fail(message));
  const log = pino({ level: "silent" });
  const metrics = new JobMetrics(queue.db);
  server = await createServer({ queue, metrics, authorization: [AUTHORIZATION], log, version: "0" });
});
after(async () => {
  await server.close();
  await queue.close();
});
beforeEach(async () => {
  await queue.db.query("DELETE FROM erofsify.conversion");
  await queue.boss.clearStorage();
});

const call = (method: "GET" | "POST", url: string, payload?: unknown, headers: Record<string, string> = {}) =>
  server.inject({
    method,
    url,
    headers: { authorization: AUTHORIZATION, ...headers },
    ...(payload !== undefined && { payload: typeof payload === "string" ? payload : JSON.stringify(payload) }),
  } as InjectOptions);
const queued = async () =>
  (await list(queue.db, { limit: 100 })).map(({ registry, repository, tag }) => `${registry}/${repository}:${tag}`);

const harbor = (...urls: string[]) => ({
  type: "PUSH_ARTIFACT",
  event_data: { resources: urls.map((resource_url) => ({ resource_url })) },
});

test("Harbor's webhook: the acceleration-service's answer, byte by byte", async () => {
  const answer = await call("POST", "/api/v1/conversions?sync=false", harbor("harbor.lan/library/app:1"));
  assert.deepEqual(
    [answer.statusCode, answer.body, answer.headers["content-type"]],
    [200, '"Ok"\n', "application/json; charset=UTF-8"],
  );
  assert.deepEqual(await queued(), ["registry.lan:5000/library/app:1"]);
});

test("other types of event, and pushes to other registries, are answered and ignored", async () => {
  for (const body of [
    { type: "DELETE_ARTIFACT" },
    { type: "QUOTA_EXCEED", event_data: {} },
    harbor("evil.example/app:1"),
  ]) {
    const { statusCode, body: text } = await call("POST", "/api/v1/conversions", body);
    assert.deepEqual([statusCode, text], [200, '"Ok"\n']);
  }
  assert.deepEqual(await queued(), []);
});

test("a webhook that is wrong in one resource queues none of them", async () => {
  const answer = await call(
    "POST",
    "/api/v1/conversions",
    harbor("harbor.lan/library/app:1", "harbor.lan/library/app:?"),
  );
  assert.equal(answer.statusCode, 400);
  assert.equal(answer.json().code, "ERR_ILLEGAL_PARAMETER");
  assert.match(answer.json().message, /resources\[1\]\.resource_url: found the tag "\?"/);
  assert.deepEqual(await queued(), []);
});

for (const [what, body] of [
  ["bad JSON", "{"],
  ["nothing", ""],
  ["null", "null"],
  ["no type", "{}"],
  ["a deep nest", `${"[".repeat(50_000)}`],
  ["bytes that are no UTF-8", "\u{fffd}{"],
] as const)
  test(`a webhook with ${what} is answered 400`, async () => {
    for (const path of ["/api/v1/conversions", "/api/v1/notifications"]) {
      const answer = await call("POST", path, body);
      assert.equal(answer.statusCode, 400);
      assert.deepEqual(Object.keys(answer.json()), ["code", "message"]);
    }
  });

test("a body beyond the limit is answered 413 on every path that takes one", async () => {
  const large = " ".repeat((1 << 20) + 1);
  for (const path of ["/api/v1/conversions", "/api/v1/notifications", "/api/v1/jobs", "/jobs"]) {
    const answer = await call("POST", path, large);
    assert.deepEqual([answer.statusCode, answer.json().code], [413, "ERR_TOO_LARGE"]);
  }
});

test("without or with a wrong Authorization nothing is answered but health and metrics", async () => {
  for (const headers of [{ authorization: "Bearer wrong" }, { authorization: "" }, { authorization: "s3cret" }])
    for (const path of ["/", "/api/v1/jobs", "/api/v1/conversions", "/openapi.json", "/events", "/assets/page.js"]) {
      const answer = await call("GET", path, undefined, headers);
      assert.deepEqual(
        [answer.statusCode, answer.json()],
        [401, { code: "ERR_UNAUTHORIZED", message: "invalid auth config" }],
      );
      assert.match(String(answer.headers["www-authenticate"]), /^Basic /);
    }
  const post = await call("POST", "/api/v1/conversions", harbor("harbor.lan/app:1"), { authorization: "no" });
  assert.equal(post.statusCode, 401);
  assert.deepEqual(await queued(), []);
  for (const path of ["/healthz", "/readyz", "/api/v1/health"]) {
    const answer = await server.inject({ url: path });
    assert.deepEqual([answer.statusCode, answer.body], [200, "Ok"]);
  }
  assert.match((await server.inject({ url: "/metrics" })).body, /erofsify_job_conversions\{status="looking"\} 0/);
});

const pushed = (target: object = {}) => ({
  action: "push",
  target: {
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: DIGEST,
    repository: "team/app",
    tag: "1",
    ...target,
  },
  request: { host: "registry:5000", useragent: "skopeo/1.9.3" },
});

test("the CNCF registry's notifications: pushes of manifests to known registries are taken, the rest is answered too", async () => {
  const type = { "content-type": "application/vnd.docker.distribution.events.v1+json" };
  const ours = { ...pushed(), request: { host: "registry:5000", useragent: "erofsify/1" } };
  const events = [pushed(), pushed(), pushed({ mediaType: "application/octet-stream" }), { action: "pull" }, ours];
  const answer = await call("POST", "/api/v1/notifications", { events }, type);
  assert.deepEqual([answer.statusCode, answer.json()], [200, { taken: 2 }]);
  assert.deepEqual(await queued(), ["registry.lan:5000/team/app:1"]);
  assert.deepEqual((await call("POST", "/api/v1/notifications", { events: [] })).json(), { taken: 0 });
});

test("a conversion asked for by its reference", async () => {
  const answer = await call("POST", "/api/v1/jobs", {
    reference: "registry.lan:5000/team/app:2",
    platforms: ["arm64"],
  });
  assert.equal(answer.statusCode, 202);
  const { id } = answer.json();
  assert.equal(answer.headers.location, `/api/v1/jobs/${id}`);
  const job = (await call("GET", `/api/v1/jobs/${id}`)).json();
  assert.deepEqual(
    [job.status, job.source, job.platforms],
    ["looking", "registry.lan:5000/team/app:2", ["linux/arm64"]],
  );
  for (const [body, message] of [
    [{}, /reference: expected a string/],
    ["[", /is not JSON/],
    ["null", /reference/],
    [{ reference: "evil.example/app" }, /evil\.example is not a registry of this service: it has registry\.lan:5000/],
    [{ reference: "registry.lan:5000/UPPER" }, /lower case/],
    [{ reference: "registry.lan:5000/a", platforms: "linux" }, /platforms: expected an array/],
    [{ reference: "registry.lan:5000/a", platforms: ["a/b/c/d"] }, /expected os\/architecture/],
    [{ reference: "registry.lan:5000/a", platforms: new Array(33).fill("amd64") }, /at most 32/],
    [{ reference: "registry.lan:5000/a", force: 1 }, /force/],
  ] as const) {
    const refused = await call("POST", "/api/v1/jobs", body);
    assert.equal(refused.statusCode, 400, JSON.stringify(body));
    assert.match(refused.json().message, message);
  }
});

test("lists: the service's own, and the acceleration-service's", async () => {
  await ask(
    queue,
    ["1", "2", "3"].map((tag) => ({ origin: "harbor", registry: "registry.lan:5000", repository: "a", tag })),
  );
  const jobs = (await call("GET", "/api/v1/jobs?limit=2")).json();
  assert.equal(jobs.length, 2);
  assert.equal((await call("GET", `/api/v1/jobs?after=${jobs[1].id}`)).json().length, 1);
  const [task] = (await call("GET", "/api/v1/conversions")).json();
  assert.deepEqual(Object.keys(task), [
    "id",
    "created",
    "finished",
    "source",
    "source_size",
    "target_size",
    "status",
    "reason",
  ]);
  assert.deepEqual([task.status, task.finished, task.source_size], ["PROCESSING", "0001-01-01T00:00:00Z", 0]);
  for (const query of ["limit=0", "limit=501", "limit=x", "status=nope", "after=1"])
    assert.equal((await call("GET", `/api/v1/jobs?${query}`)).statusCode, 400, query);
});

test("what cannot be retried or cancelled: 409; what is not there: 404; no id at all: 400", async () => {
  const [id] = await ask(queue, [{ origin: "api", registry: "registry.lan:5000", repository: "a", tag: "1" }]);
  assert.equal((await call("POST", `/api/v1/jobs/${id}/retry`)).statusCode, 409);
  assert.equal((await call("POST", `/api/v1/jobs/${id}/cancel`)).statusCode, 202);
  assert.equal((await call("POST", `/api/v1/jobs/${id}/cancel`)).statusCode, 409);
  assert.equal((await call("POST", `/api/v1/jobs/${id}/retry`)).statusCode, 202);
  const nobody = "00000000-0000-0000-0000-000000000000";
  for (const [method, path] of [
    ["GET", `/api/v1/jobs/${nobody}`],
    ["POST", `/api/v1/jobs/${nobody}/retry`],
    ["GET", `/jobs/${nobody}`],
    ["GET", "/jobs/x"],
    ["GET", "/events?id=x"],
    ["GET", "/nowhere"],
  ] as const)
    assert.equal((await call(method, path)).statusCode, 404, path);
  assert.equal((await call("GET", "/api/v1/jobs/x")).statusCode, 400);
  assert.deepEqual((await call("GET", "/nowhere")).json(), {
    code: "ERR_INVALID_ENDPOINT",
    message: "Endpoint not found",
  });
});

test("a synchronous request ends with the conversion, and tells that it failed", async () => {
  const answer = call("POST", "/api/v1/conversions?sync=true", harbor("harbor.lan/library/app:1"));
  let held = await take(queue, LOOKUPS, "w");
  // The database is in this process: without a pause it would leave the request no time.
  for (; held === undefined; held = await take(queue, LOOKUPS, "w")) await delay(10);
  await queue.db.query("UPDATE erofsify.conversion SET status = 'failed', reason = 'no such image' WHERE id = $1", [
    held.id,
  ]);
  const { statusCode, body } = await answer;
  assert.deepEqual([statusCode, JSON.parse(body)], [500, { code: "ERR_CONVERT_FAILED", message: "no such image" }]);
});

test("the page's forms: from this page only, and wrong input is shown where it was typed", async () => {
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const start = (reference: string, headers: Record<string, string>) =>
    call("POST", "/jobs", `reference=${encodeURIComponent(reference)}`, { ...form, ...headers });
  const foreign = await start("registry.lan:5000/a:1", { "sec-fetch-site": "cross-site" });
  assert.equal(foreign.statusCode, 403);
  const wrong = await start("evil.example/<b>", { "sec-fetch-site": "same-origin" });
  assert.equal(wrong.statusCode, 400);
  assert.match(wrong.body, /role="alert">/);
  assert.match(wrong.body, /value="evil\.example\/&lt;b&gt;"/);
  assert.deepEqual(await queued(), []);
  const right = await start(" registry.lan:5000/a:1 ", { "sec-fetch-site": "same-origin" });
  assert.equal(right.statusCode, 303);
  assert.match(String(right.headers.location), /^jobs\/[0-9a-f-]{36}$/);
  assert.match(String((await call("GET", "/")).headers["content-security-policy"]), /default-src 'none'/);
});

test("the OpenAPI document tells every path of the API", async () => {
  const { openapi, paths } = (await call("GET", "/openapi.json")).json();
  assert.equal(openapi, "3.1.0");
  assert.deepEqual(Object.keys(paths).sort(), [
    "/api/v1/conversions",
    "/api/v1/health",
    "/api/v1/jobs",
    "/api/v1/jobs/{id}",
    "/api/v1/jobs/{id}/cancel",
    "/api/v1/jobs/{id}/retry",
    "/api/v1/notifications",
    "/healthz",
    "/metrics",
    "/readyz",
  ]);
});
