import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SourceError } from "../../formats/oci/index.ts";
import { parseSource } from "./index.ts";

const RUNS = { seed: 20261124, numRuns: 3000 };

const pieces = (...parts: string[]) => fc.array(fc.constantFrom(...parts), { maxLength: 20 }).map((p) => p.join(""));

test("any source is understood or a SourceError", () => {
  const source = fc.oneof(
    fc.string(),
    pieces("oci", "tar", "docker-archive", ":", "@", "/", "sha256", "a", "A", "docker://"),
  );
  fc.assert(
    fc.property(source, (text) => {
      try {
        parseSource(text);
      } catch (error) {
        assert.ok(error instanceof SourceError, String(error));
      }
    }),
    RUNS,
  );
});
