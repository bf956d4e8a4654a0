import assert from "node:assert/strict";
import { test } from "node:test";
import { Authorization, isSameOrigin, parseAuthorizationFile } from "./authorization.ts";

test("a header counts when it is one of the accepted values as a whole", () => {
  const authorization = new Authorization(["Bearer one", "Basic dXNlcjpwYXNz"]);
  assert.ok(authorization.accepts("Bearer one"));
  assert.ok(authorization.accepts("Basic dXNlcjpwYXNz"));
  for (const header of [undefined, "", "Bearer", "Bearer one ", "bearer one", "Bearer two", "Bearer one, Bearer two"])
    assert.ok(!authorization.accepts(header), header);
  assert.ok(new Authorization([]).accepts(undefined));
});

test("the file of accepted values: one a line, with comments", () => {
  assert.deepEqual(parseAuthorizationFile("# harbor\nBearer one\n\n  Basic abc  \n"), ["Bearer one", "Basic abc"]);
});

test("forms of other sites are told by what browsers send", () => {
  assert.ok(isSameOrigin({ "sec-fetch-site": "same-origin" }));
  assert.ok(!isSameOrigin({ "sec-fetch-site": "cross-site", origin: "http://job.lan", host: "job.lan" }));
  assert.ok(!isSameOrigin({ "sec-fetch-site": "same-site" }));
  assert.ok(isSameOrigin({ origin: "http://job.lan:2077", host: "job.lan:2077" }));
  assert.ok(!isSameOrigin({ origin: "http://evil.example", host: "job.lan:2077" }));
  assert.ok(!isSameOrigin({ origin: "null", host: "job.lan:2077" }));
  assert.ok(isSameOrigin({ host: "job.lan:2077" }));
});
