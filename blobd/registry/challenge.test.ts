import assert from "node:assert/strict";
import { test } from "node:test";
import { parseChallenges } from "./challenge.ts";
import { retryAfterMs } from "./retry.ts";
import { endpointsOf, isLoopback, parseSettings } from "./settings.ts";

const parsed = (header: string) => parseChallenges(header).map((c) => [c.scheme, Object.fromEntries(c.parameters)]);

for (const [header, expected] of [
  ["", []],
  ["Basic", [["basic", {}]]],
  ['Basic realm="a, b"', [["basic", { realm: "a, b" }]]],
  [
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
    [
      [
        "bearer",
        { realm: "https://auth.docker.io/token", service: "registry.docker.io", scope: "repository:a/b:pull,push" },
      ],
    ],
  ],
  ["BEARER Realm = x , Service=y", [["bearer", { realm: "x", service: "y" }]]],
  [
    'Negotiate, Basic realm="r", Bearer realm="b"',
    [
      ["negotiate", {}],
      ["basic", { realm: "r" }],
      ["bearer", { realm: "b" }],
    ],
  ],
  ['Bearer realm="a \\"quoted\\" \\\\ one"', [["bearer", { realm: 'a "quoted" \\ one' }]]],
  ['Bearer realm="first",realm="second"', [["bearer", { realm: "first" }]]],
  ['Bearer realm="open', [["bearer", {}]]],
  [", , Basic", [["basic", {}]]],
  ["\u0000", []],
] as const)
  test(`WWW-Authenticate: ${JSON.stringify(header)}`, () => assert.deepEqual(parsed(header), expected));

test("a header made to be slow is read in time that grows with its length only", () => {
  for (const header of [
    '"\\'.repeat(8000),
    `Bearer x="${"\\a".repeat(8000)}`,
    "a ".repeat(8000),
    "a = ".repeat(4000),
  ]) {
    const start = performance.now();
    parseChallenges(header);
    assert.ok(performance.now() - start < 200);
  }
});

for (const [header, expected] of [
  [undefined, undefined],
  ["3", 3000],
  [" 10 ", 10_000],
  ["Thu, 01 Jan 1970 00:01:40 GMT", 90_000],
  ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
  ["soon", undefined],
] as const)
  test(`Retry-After: ${header}`, () => assert.equal(retryAfterMs(header, 10_000), expected));

const settings = (value: unknown) => parseSettings("settings.json", Buffer.from(JSON.stringify(value)));
const origins = (registry: string, plainHttp: boolean | undefined, value: unknown = {}) =>
  endpointsOf(registry, plainHttp, settings(value)).map(({ origin, host, prefix, ca }) => [
    origin,
    host,
    prefix,
    ca ?? "",
  ]);

test("registries are reached by TLS, the machine itself without, Docker Hub by its own host", () => {
  assert.deepEqual(origins("quay.io", undefined), [["https://quay.io", "quay.io", "", ""]]);
  assert.deepEqual(origins("docker.io", undefined), [["https://registry-1.docker.io", "docker.io", "", ""]]);
  assert.deepEqual(origins("localhost:5000", undefined), [["http://localhost:5000", "localhost:5000", "", ""]]);
  assert.deepEqual(origins("localhost:5000", false), [["https://localhost:5000", "localhost:5000", "", ""]]);
  assert.deepEqual(origins("quay.io", true), [["http://quay.io", "quay.io", "", ""]]);
});

for (const [host, loopback] of [
  ["127.0.0.1", true],
  ["127.9.9.9:1", true],
  ["[::1]:5000", true],
  ["LOCALHOST", true],
  ["localhost.example.com", false],
  ["127.0.0.1.example.com", false],
  ["127.example.com", false],
] as const)
  test(`${host} is ${loopback ? "" : "not "}the machine itself`, () => assert.equal(isLoopback(host), loopback));

test("the settings file gives mirrors, plain HTTP and certificate authorities", () => {
  const value = {
    registries: {
      "docker.io": { mirrors: ["https://m.example/hub/", "plain.example:80", "http://h:1"] },
      "m.example": { ca: "/ca.pem" },
      "lan:5000": { plainHttp: true },
    },
  };
  assert.deepEqual(origins("docker.io", undefined, value), [
    ["https://m.example", "m.example", "hub/", "/ca.pem"],
    ["https://plain.example:80", "plain.example:80", "", ""],
    ["http://h:1", "h:1", "", ""],
    ["https://registry-1.docker.io", "docker.io", "", ""],
  ]);
  assert.deepEqual(origins("lan:5000", undefined, value), [["http://lan:5000", "lan:5000", "", ""]]);
  for (const mirror of ["ftp://x", "https://u:p@x", "https://x?y", "https://"])
    assert.throws(() => origins("a.io", undefined, { registries: { "a.io": { mirrors: [mirror] } } }), {
      code: "ERR_BAD_SOURCE",
      message: /^mirror/,
    });
});
