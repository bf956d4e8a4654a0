import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EROFS_ARTIFACT, OCI_INDEX, OCI_MANIFEST, parsePlatform, SourceError } from "../../formats/oci/index.ts";
import { findConverted } from "./find-converted.ts";
import { DEFAULT_RETRY } from "./retry.ts";
import { fakeImage, startFakeRegistry, testOptions } from "./testing.ts";
import { TestDocuments } from "./testing-documents.ts";

// Documents that were right once, changed and hashed anew: whoever may push can push such.

const PLATFORM = parsePlatform("linux/amd64");
const RUNS = 400;

/** A few bytes changed, or a piece taken out, put twice or cut off. */
const change = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom("byte", "cut", "twice", "without"),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 4 }),
});
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function changed(bytes: Buffer, { at, kind, bytes: others }: Change): Buffer {
  const place = at % bytes.length;
  const [before, rest] = [bytes.subarray(0, place), bytes.subarray(place)];
  if (kind === "cut") return before;
  if (kind === "twice") return Buffer.concat([before, rest.subarray(0, others.length * 8), rest]);
  if (kind === "without") return Buffer.concat([before, rest.subarray(others.length * 4)]);
  return Buffer.concat([before, others, rest.subarray(others.length)]);
}

test("changed manifests, lists and indexes are found, refused or told: never anything else", async (t) => {
  let documents = new TestDocuments();
  const registry = await startFakeRegistry(t, fakeImage([]), (request, response) => {
    documents.answer(request, response, 0);
    return true;
  });
  const { env, retry } = testOptions();
  const options = { env, retry: { ...DEFAULT_RETRY, ...retry, tries: 1 } };
  const reference = { registry: registry.host, repository: "app", tag: "1" };
  const ends = { found: 0, none: 0, refused: 0, failed: 0 };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom("manifest", "list", "index", "tag"), change, async (what, how) => {
      documents = new TestDocuments();
      const source = documents.tarImage();
      const whole = documents.erofsImage({ source: source.digest, subject: source });
      const form = what === "manifest" ? documents.put(OCI_MANIFEST, changed(documents.bytesOf(whole), how)) : whole;
      const platform = { os: "linux", architecture: "amd64" };
      const index = documents.index([
        { ...source, platform },
        { ...form, platform: { ...platform, "os.features": ["erofs"] } },
      ]);
      documents.attach(source, [{ ...form, artifactType: EROFS_ARTIFACT }]);
      if (what === "list")
        for (const [path, answer] of documents.referrers)
          documents.referrers.set(path, { bytes: changed(answer.bytes, how) });
      const root = what === "index" ? documents.put(OCI_INDEX, changed(documents.bytesOf(index), how)) : source;
      documents.tag("1", what === "tag" ? documents.put(OCI_MANIFEST, changed(documents.bytesOf(whole), how)) : root);
      let refusals = 0;
      try {
        const found = await findConverted({ reference, platform: PLATFORM, onRefused: () => void refusals++ }, options);
        if (found === undefined) ends[refusals > 0 ? "refused" : "none"]++;
        else {
          ends.found++;
          assert.ok(found.layers.meta.contentDigest);
          if (found.how === "referrer") assert.equal(found.manifest.subject?.digest, source.digest);
        }
      } catch (error) {
        assert.ok(error instanceof SourceError, String((error as Error).stack));
        ends.failed++;
      }
    }),
    { numRuns: RUNS, seed: 6 },
  );
  // Each of these ends was met: the test looks at all of them.
  for (const [end, times] of Object.entries(ends)) assert.ok(times > 0, `${end}: ${JSON.stringify(ends)}`);
});
