import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Store } from "../../blobd/store/index.ts";
import {
  buildTar,
  erofsify,
  pushImage,
  type Registry,
  startRegistry,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";

// Converted images fetched whole, from Debian's docker-registry: by their own name, from an index, attached to the source.

const directory = tempDir();
const at = (name: string) => join(directory, name);
let registry: Registry;

before(async () => {
  registry = await startRegistry();
  const bottom = buildTar([
    { name: "random", content: randomBytes(3_000_000) },
    { name: "text", content: "the same line again\n".repeat(200_000) },
  ]);
  await writeOciLayout(at("layout"), "v1", [bottom, buildTar([{ name: "more", content: randomBytes(100_000) }])], {
    Cmd: ["/bin/true"],
  });
  await pushImage(at("layout"), "v1", `${registry.host}/test/app:1`);
});
after(() => registry.stop());

const ref = (name: string) => `${registry.host}/test/${name}`;

async function ok(...args: string[]): Promise<{ json: Record<string, unknown>; stderr: string }> {
  const { status, stdout, stderr } = await erofsify(args);
  assert.equal(status, 0, stderr);
  return { json: JSON.parse(stdout), stderr };
}

const convert = (store: string, image: string, ...more: string[]) =>
  ok("convert", "--json", "--store", at(store), ref(image), ...more);

test("an image that was pushed converted is fetched as it was made", async () => {
  const made = await convert("maker", "app:1");
  await ok("push", "--json", "--store", at("maker"), ref("app:1"));
  const { json, stderr } = await convert("puller", "app:1-erofs");
  assert.deepEqual((json.converted as { how: string }).how, "itself");
  assert.deepEqual([json.meta, json.blobs, json.layersFetched], [made.json.meta, made.json.blobs, 3]);
  assert.equal(stderr.match(/fetched /g)?.length, 3, stderr);
  const [from, to] = await Promise.all(["maker", "puller"].map((name) => Store.open(at(name))));
  for (const { digestHex } of [json.meta, ...(json.blobs as { digestHex: string }[])] as { digestHex: string }[]) {
    assert.ok(from!.readBlob(digestHex).equals(to!.readBlob(digestHex)));
    const sum = createHash("sha256")
      .update(readFileSync(to!.blobPath(digestHex)))
      .digest("hex");
    assert.equal(sum, digestHex);
  }
  from!.close();
  to!.close();
  const again = await convert("puller", "app:1-erofs");
  assert.deepEqual([again.json.cached, again.json.layersFetched], [true, 0]);
  assert.equal((await erofsify(["check", "--store", at("puller"), ref("app:1-erofs")])).status, 0);
});
