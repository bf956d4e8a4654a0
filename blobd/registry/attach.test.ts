import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import { EROFS_ARTIFACT, OCI_INDEX, OCI_MANIFEST } from "../../formats/oci/index.ts";
import { RegistryClient } from "./client.ts";
import { attachByTag, referrersTag } from "./referrers.ts";
import { RepositoryReader } from "./repository-reader.ts";
import { DEFAULT_RETRY } from "./retry.ts";
import { fakeImage, startFakeRegistry, testOptions } from "./testing.ts";
import { RepositoryWriter } from "./upload.ts";
import { sha256 } from "./verify.ts";

const SUBJECT = sha256(Buffer.from("the image"));
const attachment = (name: string) => ({
  mediaType: OCI_MANIFEST,
  digest: sha256(Buffer.from(name)),
  size: 3,
  artifactType: EROFS_ARTIFACT,
});
const list = (...names: string[]) => ({
  schemaVersion: 2,
  mediaType: OCI_INDEX,
  manifests: names.map(attachment),
  annotations: { kept: "as it is" },
});

/** A registry of one tag. `afterPut` is somebody else, who writes in the same moment. */
async function attach(t: TestContext, start: object | undefined, afterPut: (held: object) => object = (held) => held) {
  let held = start;
  let puts = 0;
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    assert.ok(request.url!.endsWith(`/manifests/${referrersTag(SUBJECT)}`), request.url);
    if (request.method === "PUT") {
      puts++;
      held = afterPut(JSON.parse((await buffer(request)).toString()));
      response.writeHead(201).end();
    } else if (held === undefined) response.writeHead(404).end();
    else {
      const type = (held as { mediaType: string }).mediaType;
      response.writeHead(200, { "content-type": type }).end(JSON.stringify(held));
    }
  };
  const registry = await startFakeRegistry(t, fakeImage([]), (request, response) => {
    void serve(request, response);
    return true;
  });
  const { env, retry } = testOptions();
  const options = { env, retry: { ...DEFAULT_RETRY, ...retry } };
  const endpoint = { origin: `http://${registry.host}`, host: registry.host, prefix: "" };
  const client = new RegistryClient(endpoint, "app", { env, stallMs: 5000 });
  const writer = new RepositoryWriter(client, options.retry);
  await attachByTag(new RepositoryReader(client, "app", options), writer, SUBJECT, attachment("ours"));
  return { held: held as ReturnType<typeof list>, puts };
}

const digests = ({ manifests }: ReturnType<typeof list>) => manifests.map(({ digest }) => digest);
const digestsOf = (...names: string[]) => names.map((name) => attachment(name).digest);

test("a list is begun, or ours goes before what is there; once is enough", async (t) => {
  assert.deepEqual(digests((await attach(t, undefined)).held), digestsOf("ours"));
  const { held } = await attach(t, list("theirs"));
  assert.deepEqual(digests(held), digestsOf("ours", "theirs"));
  assert.deepEqual(held.annotations, { kept: "as it is" });
  assert.equal((await attach(t, held)).puts, 0);
});

test("who is overwritten in the same moment adds once more: nobody's is lost", async (t) => {
  let others = 1;
  const { held, puts } = await attach(t, undefined, (mine) => (others-- > 0 ? list("theirs") : mine));
  assert.deepEqual(digests(held), digestsOf("ours", "theirs"));
  assert.equal(puts, 2);
});

test("a tag that somebody else writes all the time is given up, with what to do", async (t) => {
  await assert.rejects(
    attach(t, undefined, () => list("theirs")),
    { code: "ERR_NETWORK", message: /was overwritten 5 times in a row by somebody else; try again/ },
  );
});

test("a tag of that name that is an image is left alone", async (t) => {
  const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: SUBJECT, size: 2 };
  const image = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [] };
  await assert.rejects(attach(t, image), { code: "ERR_UNSUPPORTED", message: /is an image, expected a list/ });
});
