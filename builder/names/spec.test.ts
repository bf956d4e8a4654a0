import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePlatform } from "../../formats/oci/index.ts";
import { formatSource, parseSource } from "./index.ts";

const HEX = "ab".repeat(32);
const platform = parsePlatform("linux/arm64");
const reference = (repository: string, tag: string) => ({ registry: "docker.io", repository, tag });

for (const [text, spec, full] of [
  ["alpine", { kind: "registry", reference: reference("library/alpine", "latest") }, "docker.io/library/alpine:latest"],
  ["docker://user/app:1", { kind: "registry", reference: reference("user/app", "1") }, "docker.io/user/app:1"],
  ["oci:dir", { kind: "oci", path: "dir" }],
  ["oci:/a/b:v1", { kind: "oci", path: "/a/b", image: { name: "v1" } }],
  ["oci:/a/b:quay.io/x:v1", { kind: "oci", path: "/a/b", image: { name: "quay.io/x:v1" } }],
  [`oci:/a@b@sha256:${HEX}`, { kind: "oci", path: "/a@b", image: { digest: `sha256:${HEX}` } }],
  ["oci-archive:x.tar:v1", { kind: "oci-archive", path: "x.tar", image: { name: "v1" } }],
  ["docker-archive:x.tar", { kind: "docker-archive", path: "x.tar" }],
  [
    "docker-archive:x.tar:app",
    { kind: "docker-archive", path: "x.tar", image: "docker.io/library/app:latest" },
    "docker-archive:x.tar:docker.io/library/app:latest",
  ],
  ["tar:/x:y.tar", { kind: "tar", path: "/x:y.tar" }],
  ["dir:.", { kind: "dir", path: "." }],
] as const)
  test(`source ${text}`, () => {
    const parsed = parseSource(text, { platform });
    assert.deepEqual(parsed, { ...spec, platform });
    assert.deepEqual(structuredClone(parsed), parsed);
    assert.equal(formatSource(parsed), full ?? text);
    assert.deepEqual(parseSource(formatSource(parsed), { platform }), parsed);
  });

for (const [text, says] of [
  ["", /repository/],
  ["oci:", /no path/],
  ["oci::tag", /no path/],
  [`oci:@sha256:${HEX}`, /no path/],
  ["oci:x@sha256:ab", /64 hex digits/],
  ["tar:", /no path/],
  ["dir:", /no path/],
  ["docker-archive:x:A B", /lower case|repository/],
  ["docker-daemon:app", /docker save/],
  ["containers-storage:app", /podman save/],
  ["docker://", /repository/],
  ["Upper", /lower case/],
] as const)
  test(`source ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseSource(text), { name: "SourceError", code: "ERR_BAD_SOURCE", message: says });
  });

test("plain HTTP is kept apart as yes, no, and not said", () => {
  assert.equal("plainHttp" in parseSource("a.io/b"), false);
  for (const plainHttp of [true, false]) {
    const spec = parseSource("a.io/b", { plainHttp });
    assert.equal(spec.kind === "registry" && spec.plainHttp, plainHttp);
  }
});
