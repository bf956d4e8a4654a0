import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "../bytes/index.ts";
import { formatReference, parseReference } from "./index.ts";

const HEX = "0123456789abcdef".repeat(4);

for (const [text, full] of [
  ["alpine", "docker.io/library/alpine:latest"],
  ["alpine:3.20", "docker.io/library/alpine:3.20"],
  ["user/app", "docker.io/user/app:latest"],
  ["docker.io/alpine", "docker.io/library/alpine:latest"],
  ["index.docker.io/alpine", "docker.io/library/alpine:latest"],
  ["docker.io/a/b/c", "docker.io/a/b/c:latest"],
  ["localhost/app", "localhost/app:latest"],
  ["localhost:5000/app:1", "localhost:5000/app:1"],
  ["host:5000/a/b:tag", "host:5000/a/b:tag"],
  ["quay.io/a/b__c.d-e--f:V_1.2-x", "quay.io/a/b__c.d-e--f:V_1.2-x"],
  ["MyHost/app", "MyHost/app:latest"],
  ["[::1]:5000/app", "[::1]:5000/app:latest"],
  ["[2001:db8::1]/app", "[2001:db8::1]/app:latest"],
  [`alpine@sha256:${HEX}`, `docker.io/library/alpine@sha256:${HEX}`],
  [`h:1/a:tag@sha256:${HEX}`, `h:1/a:tag@sha256:${HEX}`],
  [`quay.io/${HEX}`, `quay.io/${HEX}:latest`],
] as const)
  test(`reference ${text} is ${full}`, () => {
    const reference = parseReference(text);
    assert.equal(formatReference(reference), full);
    assert.deepEqual(parseReference(full), reference);
  });

for (const [text, says] of [
  ["", /repository/],
  ["Alpine", /lower case/],
  ["user/App:1", /lower case/],
  ["a//b", /repository/],
  ["/a", /repository/],
  ["a/", /repository/],
  ["a_", /repository/],
  ["a.-b", /repository/],
  ["../etc", /registry/],
  ["alpine:", /tag/],
  ["alpine:a b", /tag/],
  ["alpine:-x", /tag/],
  [`alpine:${"x".repeat(129)}`, /129 characters/],
  ["host:70000/a", /port/],
  ["host:0/a", /port/],
  ["host:/a", /registry/],
  ["a@sha256:12", /64 hex digits/],
  [`a@sha256:${HEX.toUpperCase()}`, /lower case/],
  [`a@sha512:${HEX}${HEX}`, /only sha256/],
  ["a@", /64 hex digits/],
  [HEX, /image id/],
  [`quay.io/${"a/".repeat(130)}b`, /longer than 255/],
  ["x".repeat(2000), /2000 characters/],
  ["https://host/a", /registry|repository/],
  ["a\u0000", /repository/],
] as const)
  test(`reference ${JSON.stringify(text.slice(0, 50))} is refused`, () => {
    assert.throws(() => parseReference(text), { name: "FormatError", message: says });
  });

test("the names of 255 characters are the longest accepted", () => {
  const longest = `h.io/${"a".repeat(250)}`;
  assert.equal(parseReference(longest).repository.length, 250);
  assert.throws(() => parseReference(`${longest}a`), FormatError);
});
