import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { EROFS_ARTIFACT, parsePlatform } from "../../formats/oci/index.ts";
import { type ConvertedRequest, findConverted } from "./find-converted.ts";
import { referrersTag } from "./referrers.ts";
import { DEFAULT_RETRY } from "./retry.ts";
import { fakeImage, startFakeRegistry, testOptions } from "./testing.ts";
import { type Described, TestDocuments } from "./testing-documents.ts";

const PLATFORM = parsePlatform("linux/amd64");
const NO_IMAGE = fakeImage([]);
const erofs = { platform: { os: "linux", architecture: "amd64", "os.features": ["erofs"] } };
const amd64 = { platform: { os: "linux", architecture: "amd64" } };
const attached = { artifactType: EROFS_ARTIFACT };

async function find(
  t: TestContext,
  documents: TestDocuments,
  more: Partial<ConvertedRequest> & { digest?: Described } = {},
) {
  const registry = await startFakeRegistry(t, NO_IMAGE, documents.answer);
  const refusals: string[] = [];
  const { digest, ...rest } = more;
  const reference = {
    registry: registry.host,
    repository: "app",
    ...(digest ? { digest: digest.digest } : { tag: "1" }),
  };
  const request = {
    reference,
    platform: PLATFORM,
    onRefused: (reason: string) => void refusals.push(reason),
    ...rest,
  };
  const { env, retry } = testOptions();
  const found = await findConverted(request, { env, retry: { ...DEFAULT_RETRY, ...retry, tries: 2 } });
  return { found, refusals, requests: registry.requests.map(({ line }) => line) };
}

test("an image that is the converted form itself", async (t) => {
  const documents = new TestDocuments();
  const source = documents.tarImage();
  const converted = documents.erofsImage({ source: source.digest });
  documents.tag("1", converted);
  const { found } = await find(t, documents);
  assert.deepEqual(
    [found?.how, found?.manifestDigest, found?.sourceDigest],
    ["itself", converted.digest, source.digest],
  );
});

test("annotations from later revisions, and a chunk index of another kind, take nothing away", async (t) => {
  const documents = new TestDocuments();
  documents.tag(
    "1",
    documents.erofsImage({
      annotations: {
        "org.erofs.what-comes-later": "?",
        "org.erofs.chunk-index.range": "1:2",
        "org.erofs.chunk-index.mediaType": "application/vnd.erofs.chunk-index.v2",
      },
    }),
  );
  const { found } = await find(t, documents);
  assert.equal(found?.how, "itself");
  assert.equal(found?.layers.meta.chunkIndex, undefined);
});

test("an entry of the index, for the platform that is wanted", async (t) => {
  const documents = new TestDocuments();
  const source = documents.tarImage();
  const converted = documents.erofsImage({ source: source.digest });
  const other = documents.erofsImage({ architecture: "arm64" });
  const arm64 = { platform: { ...erofs.platform, architecture: "arm64" } };
  const index = documents.index([
    { ...source, ...amd64 },
    { ...other, ...arm64 },
    { ...converted, ...erofs },
  ]);
  documents.tag("1", index);
  for (const more of [{}, { digest: index }]) {
    const { found, refusals } = await find(t, documents, more);
    assert.deepEqual([found?.how, found?.manifestDigest, refusals], ["index", converted.digest, []]);
    assert.equal(found?.sourceDigest, source.digest);
  }
});

test("attached to the image: by the API, by the fallback tag, beside other things", async (t) => {
  for (const way of ["api", "tag", "api that is none"] as const) {
    const documents = new TestDocuments();
    const source = documents.tarImage();
    documents.tag("1", source);
    const converted = documents.erofsImage({ source: source.digest, subject: source });
    const signature = { ...documents.tarImage("signature"), artifactType: "application/vnd.example.signature" };
    const list = [signature, { ...converted, ...attached }];
    if (way === "api") documents.attach(source, list);
    else documents.tag(referrersTag(source.digest), documents.index(list));
    if (way === "api that is none") {
      const path = `${source.digest}?artifactType=${encodeURIComponent(EROFS_ARTIFACT)}`;
      documents.referrers.set(path, { bytes: Buffer.from("<html>"), type: "text/html" });
    }
    const { found, refusals } = await find(t, documents);
    assert.deepEqual([found?.how, found?.manifestDigest, refusals], ["referrer", converted.digest, []], way);
  }
});

test("attached to the image of a platform in an index", async (t) => {
  const documents = new TestDocuments();
  const source = documents.tarImage();
  documents.tag("1", documents.index([{ ...source, ...amd64 }]));
  const converted = documents.erofsImage({ source: source.digest, subject: source });
  documents.attach(source, [{ ...converted, ...attached }]);
  assert.equal((await find(t, documents)).found?.manifestDigest, converted.digest);
});

test("a digest promises bytes: what is attached later is taken only when it is trusted", async (t) => {
  const documents = new TestDocuments();
  const source = documents.tarImage();
  const converted = documents.erofsImage({ source: source.digest, subject: source });
  documents.attach(source, [{ ...converted, ...attached }]);
  const { found, requests } = await find(t, documents, { digest: source });
  assert.equal(found, undefined);
  assert.equal(requests.length, 1, "nobody is asked for what would not be taken");
  const trusted = await find(t, documents, { digest: source, trustReferrers: true });
  assert.equal(trusted.found?.manifestDigest, converted.digest);
});

test("a mirror that has the image decides; one that has not is passed over", async (t) => {
  const documents = new TestDocuments();
  const source = documents.tarImage();
  documents.tag("1", source);
  const converted = documents.erofsImage({ source: source.digest, subject: source });
  documents.attach(source, [{ ...converted, ...attached }]);
  const plain = new TestDocuments();
  plain.tag("1", plain.tarImage());
  for (const [held, expected, asked] of [
    [new TestDocuments(), converted.digest, 1],
    [plain, undefined, 0],
  ] as const) {
    const registry = await startFakeRegistry(t, NO_IMAGE, documents.answer);
    const mirror = await startFakeRegistry(t, NO_IMAGE, held.answer);
    const directory = mkdtempSync(join(tmpdir(), "erofsify-find-"));
    t.after(() => rmSync(directory, { recursive: true }));
    const config = join(directory, "config.json");
    writeFileSync(config, JSON.stringify({ registries: { [registry.host]: { mirrors: [`http://${mirror.host}`] } } }));
    const { env, retry } = testOptions({ env: { EROFSIFY_CONFIG: config } });
    const reference = { registry: registry.host, repository: "app", tag: "1" };
    const options = { env, retry: { ...DEFAULT_RETRY, ...retry } };
    const found = await findConverted({ reference, platform: PLATFORM }, options);
    assert.equal(found?.manifestDigest, expected);
    assert.equal(registry.requests.length > 0, asked === 1);
  }
});

test("an image without a converted form is no error; one that is not there is", async (t) => {
  const documents = new TestDocuments();
  documents.tag("1", documents.tarImage());
  assert.deepEqual((await find(t, documents)).found, undefined);
  await assert.rejects(find(t, new TestDocuments()), { code: "ERR_NOT_FOUND" });
});

test("what lies is not taken, and the reason told", async (t) => {
  const liars: Record<string, [RegExp, (documents: TestDocuments, source: Described) => readonly Described[]]> = {
    "the image itself": [/does not name it as its subject/, (_, source) => [source]],
    "for another image": [
      /does not name it as its subject/,
      (documents) => [documents.erofsImage({ subject: documents.tarImage("other") })],
    ],
    "without a subject": [/does not name it as its subject/, (documents) => [documents.erofsImage()]],
    "made of another image": [
      /was made of sha256:/,
      (documents, source) => [documents.erofsImage({ subject: source, source: documents.tarImage("other").digest })],
    ],
    "for another platform": [
      /is an image for linux\/arm64/,
      (documents, source) => [documents.erofsImage({ subject: source, architecture: "arm64" })],
    ],
    "with a chunk index behind the end of its layer": [
      /expected START\[:END\] within the 4096 bytes/,
      (documents, source) => [
        documents.erofsImage({ subject: source, annotations: { "org.erofs.chunk-index.range": "4000:9000" } }),
      ],
    ],
    "with a device last": [
      /no file system behind its devices/,
      (documents, source) => [documents.erofsImage({ subject: source, annotations: { "org.erofs.role": "device" } })],
    ],
    "of another size": [
      /its manifest says 9999/,
      (documents, source) => [{ ...documents.erofsImage({ subject: source }), size: 9999 }],
    ],
    "larger than any manifest": [
      /at most 4194304 are accepted/,
      (documents, source) => [{ ...documents.erofsImage({ subject: source }), size: 2 ** 40 }],
    ],
    gone: [
      /does not exist there/,
      (documents, source) => [{ ...documents.erofsImage({ subject: source }), digest: `sha256:${"0".repeat(64)}` }],
    ],
    exchanged: [
      /expected sha256:/,
      (documents, source) => {
        const converted = documents.erofsImage({ subject: source });
        documents.replace(converted.digest, Buffer.alloc(converted.size, 32));
        return [converted];
      },
    ],
  };
  for (const [name, [reason, make]] of Object.entries(liars)) {
    const documents = new TestDocuments();
    const source = documents.tarImage();
    documents.tag("1", source);
    documents.attach(
      source,
      make(documents, source).map((one) => ({ ...one, ...attached })),
    );
    const { found, refusals } = await find(t, documents);
    assert.equal(found, undefined, name);
    assert.equal(refusals.length, 1, name);
    assert.match(refusals[0]!, reason, name);
  }
});

test("an index that lists a form of another image, or one of tar layers, is used without it", async (t) => {
  for (const [reason, make] of [
    [/was made of/, (documents: TestDocuments) => documents.erofsImage({ source: documents.tarImage("x").digest })],
    [/has no EROFS layers/, (documents: TestDocuments) => documents.tarImage()],
  ] as const) {
    const documents = new TestDocuments();
    documents.tag(
      "1",
      documents.index([
        { ...documents.tarImage(), ...amd64 },
        { ...make(documents), ...erofs },
      ]),
    );
    const { found, refusals } = await find(t, documents);
    assert.equal(found, undefined);
    assert.match(refusals[0]!, reason);
  }
});

test("an index that names itself, and indexes inside each other, end", async (t) => {
  const documents = new TestDocuments();
  const inner = documents.index([{ ...documents.tarImage(), ...amd64 }]);
  const outer = documents.index([inner]);
  // Nobody can make an index with its own digest; a registry can answer with one, and is found out.
  documents.replace(inner.digest, Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [outer] })));
  documents.tag("1", outer);
  await assert.rejects(find(t, documents), (error: Error) => /expected|says/.test(error.message));
  let deep = documents.index([{ ...documents.tarImage(), ...amd64 }]);
  for (let i = 0; i < 4; i++) deep = documents.index([deep]);
  documents.tag("1", deep);
  await assert.rejects(find(t, documents), /more than 3 indexes inside each other/);
});

test("a list of several pages is read, one without an end is left, one that leads elsewhere is not followed", async (t) => {
  const documents = new TestDocuments();
  const source = documents.tarImage();
  documents.tag("1", source);
  const converted = documents.erofsImage({ source: source.digest, subject: source });
  documents.attach(source, [], `</v2/app/referrers/next>; rel="next"`);
  documents.attachAt("next", [{ ...converted, ...attached }]);
  assert.equal((await find(t, documents)).found?.manifestDigest, converted.digest);
  documents.attachAt("next", [], `</v2/app/referrers/next>; rel="next"`);
  const endless = await find(t, documents);
  assert.equal(endless.found, undefined);
  assert.equal(endless.requests.filter((line) => line.endsWith("/next")).length, 15);
  documents.attach(source, [], `<http://127.0.0.2:1/v2/app/referrers/next>; rel="next"`);
  assert.deepEqual((await find(t, documents)).refusals, []);
});

test("a registry that fails to list what is attached does not take the image away", async (t) => {
  const documents = new TestDocuments();
  const source = documents.tarImage();
  documents.tag("1", source);
  documents.attach(source, []);
  for (const [path, answer] of documents.referrers) documents.referrers.set(path, { ...answer, status: 503 });
  const { found, refusals } = await find(t, documents);
  assert.equal(found, undefined);
  assert.match(refusals[0]!, /what is attached to sha256:.* is not used: .* answered 503/);
});
