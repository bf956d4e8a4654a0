import assert from "node:assert/strict";
import { test } from "node:test";
import { SourceError } from "../../formats/oci/index.ts";
import { networkError } from "./http.ts";
import { PassingError } from "./retry.ts";

const REGISTRY = new URL("https://registry.example/v2/");

for (const [code, passes, message] of [
  ["ENOTFOUND", false, /registry\.example: the host name is not known/],
  ["EAI_AGAIN", true, /the host name cannot be looked up now/],
  ["ECONNREFUSED", true, /nothing listens there/],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", false, /NODE_EXTRA_CA_CERTS/],
  ["ERR_SSL_WRONG_VERSION_NUMBER", false, /--plain-http/],
] as const)
  test(`${code} is ${passes ? "tried again" : "told at once"}`, () => {
    const error = networkError(REGISTRY, Object.assign(new Error("request failed"), { code }));
    assert.ok(error instanceof SourceError);
    assert.equal(error instanceof PassingError, passes);
    assert.equal(error.code, "ERR_NETWORK");
    assert.match(error.message, message);
  });
