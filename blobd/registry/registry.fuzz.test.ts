import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SourceError } from "../../formats/oci/index.ts";
import { parseChallenges } from "./challenge.ts";
import { fromAuths, parseAuthFile } from "./credentials.ts";
import { endpointsOf, parseSettings } from "./settings.ts";

const RUNS = { seed: 20261124, numRuns: 3000 };

function survives(work: () => void): void {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof SourceError, String(error));
  }
}

const pieces = (...parts: string[]) => fc.array(fc.constantFrom(...parts), { maxLength: 20 }).map((p) => p.join(""));

test("any WWW-Authenticate header is read", () => {
  const header = fc.oneof(fc.string(), pieces("Bearer", "Basic", " ", ",", "=", '"', "\\", "realm", "x", "\t"));
  fc.assert(
    fc.property(header, (text) => {
      for (const { scheme, parameters } of parseChallenges(text)) {
        assert.notEqual(scheme, "");
        assert.ok(parameters instanceof Map);
      }
    }),
    RUNS,
  );
});

test("any JSON is a credentials file, a settings file, or a SourceError", () => {
  const value = fc.oneof(
    fc.jsonValue(),
    fc.string().map((auth) => ({ auth })),
    fc.constant({ mirrors: ["a", "http://["] }),
  );
  const map = fc.dictionary(fc.oneof(fc.string(), fc.constant("h")), value);
  const document = fc.record(
    { auths: map, registries: map, credHelpers: map, credsStore: value },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(document, fc.jsonValue()), (json) => {
      const bytes = Buffer.from(JSON.stringify(json));
      survives(() => fromAuths(parseAuthFile("f", bytes), "h", "a/b"));
      survives(() => endpointsOf("h", undefined, parseSettings("f", bytes)));
    }),
    RUNS,
  );
});
