import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError } from "../bytes/index.ts";
import { DocumentError, formatReference, parseImageConfig, parseManifest, parseReference } from "./index.ts";

const SEED = 20261123;
const RUNS = { seed: SEED, numRuns: 3000 };

/** Runs `parse` and lets only the errors through that the parsers promise. */
function survives<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    assert.ok(error instanceof FormatError || error instanceof DocumentError, String(error));
    return undefined;
  }
}

const almostReference = fc
  .array(
    fc.constantFrom(
      "a",
      "B",
      "lib",
      "/",
      ":",
      "@",
      ".",
      "_",
      "-",
      "localhost",
      "[::1]",
      "5000",
      `sha256:${"0".repeat(64)}`,
      "é",
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(""));

test("any text is a reference that survives a round trip, or a FormatError", () => {
  fc.assert(
    fc.property(fc.oneof(almostReference, fc.string()), (text) => {
      const reference = survives(() => parseReference(text));
      if (reference) assert.deepEqual(parseReference(formatReference(reference)), reference);
    }),
    RUNS,
  );
});

const digest = fc.constantFrom(`sha256:${"a".repeat(64)}`, "sha256:", "sha512:00", "");
const value = fc.oneof(fc.jsonValue(), fc.constant(null), fc.constant(-1), fc.constant(1e300));
const descriptor = fc.record(
  {
    mediaType: fc.oneof(fc.string(), value),
    digest: fc.oneof(digest, value),
    size: fc.oneof(fc.nat(), value),
    platform: value,
  },
  { requiredKeys: [] },
);
const almostManifest = fc.record(
  {
    schemaVersion: fc.oneof(fc.constant(2), value),
    mediaType: fc.oneof(fc.constantFrom("application/vnd.oci.image.index.v1+json"), value),
    config: fc.oneof(descriptor, value),
    layers: fc.oneof(fc.array(descriptor), value),
    manifests: fc.oneof(fc.array(descriptor), value),
    rootfs: value,
    os: value,
  },
  { requiredKeys: [] },
);

test("any JSON is a manifest, a config, or a typed error", () => {
  fc.assert(
    fc.property(fc.oneof(almostManifest, value), (json) => {
      const bytes = Buffer.from(JSON.stringify(json) ?? "");
      survives(() => parseManifest(bytes));
      survives(() => parseImageConfig(bytes));
    }),
    RUNS,
  );
});

test("any bytes are a manifest, a config, or a typed error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      survives(() => parseManifest(bytes));
      survives(() => parseImageConfig(bytes));
    }),
    RUNS,
  );
});

test("a deeply nested document neither overflows the stack nor takes long", () => {
  for (const [open, close] of [
    ["[", "]"],
    ['{"config":', "}"],
  ] as const)
    for (const end of [close.repeat(300_000), ""])
      for (const inner of ["1", '{"schemaVersion":2}'])
        assert.equal(
          survives(() => parseManifest(Buffer.from(open.repeat(300_000) + inner + end))),
          undefined,
        );
});
