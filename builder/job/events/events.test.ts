import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDistributionNotification, parseHarborNotification } from "./index.ts";
import { MAX_EVENTS, MAX_NOTIFICATION_BYTES } from "./push-event.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const bytes = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value));

/** An event as docker-registry 2.8 sends it. */
const event = (target: object = {}, more: object = {}) => ({
  id: "f0a3d04d-8b6e-4e4a-9d51-6c1d6b2a2d5e",
  timestamp: "2026-11-27T15:00:00.000000000Z",
  action: "push",
  target: {
    mediaType: MANIFEST,
    digest: DIGEST,
    size: 708,
    length: 708,
    repository: "team/app",
    url: `http://registry.lan:5000/v2/team/app/manifests/${DIGEST}`,
    tag: "1.0",
    ...target,
  },
  request: { id: "1", addr: "10.0.0.3:42", host: "registry.lan:5000", method: "PUT", useragent: "skopeo/1.9.3" },
  actor: {},
  source: { addr: "registry-0:5000", instanceID: "1" },
  ...more,
});
const distribution = (...events: object[]) => parseDistributionNotification(bytes({ events }));

test("a push to the CNCF registry is told with host, repository, tag and digest", () => {
  assert.deepEqual(distribution(event()), {
    pushes: [{ host: "registry.lan:5000", repository: "team/app", tag: "1.0", digest: DIGEST }],
    passedOver: 0,
  });
});

test("pulls, deletions, layers and pushes of this converter's own are passed over", () => {
  const ours = { request: { ...event().request, useragent: "erofsify" } };
  const { pushes, passedOver } = distribution(
    event({}, { action: "pull" }),
    event({}, { action: "delete", target: { digest: DIGEST, repository: "team/app" } }),
    event({ mediaType: "application/octet-stream" }),
    event({}, ours),
    event({}, { action: "something-new", target: null }),
  );
  assert.deepEqual([pushes, passedOver], [[], 5]);
});

test("a push by digest has no tag; without request.host the URL tells the registry", () => {
  const [push] = distribution(event({ tag: undefined }, { request: undefined })).pushes;
  assert.deepEqual(push, { host: "registry.lan:5000", repository: "team/app", digest: DIGEST });
});

for (const [what, body, message] of [
  ["no JSON", "{", /is not JSON/],
  ["no events", {}, /events: found nothing, expected an array/],
  ["an event without action", { events: [{}] }, /events\[0\]\.action/],
  ["a repository with a path out", { events: [event({ repository: "../../etc" })] }, /repository/],
  ["a repository with a tag in it", { events: [event({ repository: "app:2", tag: undefined })] }, /repository/],
  ["a tag with a slash", { events: [event({ tag: "a/b" })] }, /tag/],
  ["a digest of another kind", { events: [event({ digest: "md5:0" })] }, /digest/],
  ["a host that is none", { events: [event({}, { request: { host: "a b" } })] }, /expected a host/],
  [
    "a host with credentials",
    { events: [event({}, { request: { host: "user:pw@registry.lan" } })] },
    /expected a host/,
  ],
  ["too many events", { events: new Array(MAX_EVENTS + 1).fill({ action: "pull" }) }, /at most 1000/],
  ["too long a body", " ".repeat(MAX_NOTIFICATION_BYTES + 1), /at most 1048576/],
] as const)
  test(`a CNCF notification with ${what} is refused`, () =>
    assert.throws(() => parseDistributionNotification(bytes(body)), message));

const harbor = (...resources: object[]) =>
  parseHarborNotification(bytes({ type: "PUSH_ARTIFACT", event_data: { resources } }));

test("Harbor's webhook in its default form", () => {
  assert.deepEqual(harbor({ digest: DIGEST, tag: "1.0", resource_url: "harbor.lan/library/app:1.0" }).pushes, [
    { host: "harbor.lan", repository: "library/app", tag: "1.0", digest: DIGEST },
  ]);
});

test("the acceleration-service's form tells no digest", () => {
  assert.deepEqual(harbor({ resource_url: "localhost/library/app:1" }).pushes, [
    { host: "localhost", repository: "library/app", tag: "1" },
  ]);
});

test("what stands before the first slash is the registry, also without a dot", () => {
  assert.equal(harbor({ resource_url: "harbor/library/app:1" }).pushes[0]?.host, "harbor");
  assert.equal(harbor({ resource_url: "docker.io/library/app:1" }).pushes[0]?.host, "docker.io");
});

test("Harbor's webhook by digest, and as CloudEvents", () => {
  const [push] = harbor({ resource_url: `harbor.lan/library/app@${DIGEST}` }).pushes;
  assert.deepEqual(push, { host: "harbor.lan", repository: "library/app", digest: DIGEST });
  const cloud = { specversion: "1.0", type: "harbor.artifact.pushed", source: "/projects/1/webhook/policies/15" };
  const data = { resources: [{ digest: DIGEST, tag: "1.0", resource_url: "harbor.lan/library/app:1.0" }] };
  assert.equal(parseHarborNotification(bytes({ ...cloud, data })).pushes[0]?.tag, "1.0");
});

test("other types of Harbor's webhook are passed over", () => {
  assert.deepEqual(parseHarborNotification(bytes({ type: "DELETE_ARTIFACT" })), { pushes: [], passedOver: 1 });
});

for (const [what, body, message] of [
  ["no JSON", "PUSH_ARTIFACT", /is not JSON/],
  ["an array", [], /expected an object/],
  ["no type", {}, /type: found nothing/],
  ["no event_data", { type: "PUSH_ARTIFACT" }, /event_data: found nothing/],
  ["no resource_url", { type: "PUSH_ARTIFACT", event_data: { resources: [{}] } }, /resource_url/],
  ["a URL without a registry", { type: "PUSH_ARTIFACT", event_data: { resources: [{ resource_url: "app" }] } }, /host/],
  [
    "upper case in the repository",
    { type: "PUSH_ARTIFACT", event_data: { resources: [{ resource_url: "harbor.lan/App:1" }] } },
    /lower case/,
  ],
] as const)
  test(`a webhook with ${what} is refused`, () => assert.throws(() => parseHarborNotification(bytes(body)), message));
