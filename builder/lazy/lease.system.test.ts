import assert from "node:assert/strict";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  buildTar,
  erofsify,
  getManifest,
  pushImage,
  type Registry,
  startErofsify,
  startRegistry,
  writeOciLayout,
} from "../testkit/index.ts";

// `erofsify lease` of an image that is attached to its source, from Debian's docker-registry.

// Not tempDir: the daemon that the leases start ends after the last of them.
const directory = mkdtempSync(join(tmpdir(), "erofsify-lease-"));
const at = (name: string) => join(directory, name);
const env = { EROFSIFY_STORE: at("lazy-store"), EROFSIFY_SERVE_IDLE: "1" };
const CONTENT = "from a blob\n".repeat(1000);
let registry: Registry;
let reference: string;

before(async () => {
  registry = await startRegistry();
  reference = `${registry.host}/test/lease:1`;
  await writeOciLayout(at("layout"), "v1", [buildTar([{ name: "hello", content: CONTENT }])], {});
  await pushImage(at("layout"), "v1", reference);
  const { status, stderr } = await erofsify(["push", "--store", at("store"), reference, "--as", "referrer"]);
  assert.equal(status, 0, stderr);
});
after(async () => {
  await registry.stop();
  const isMounted = () => readFileSync("/proc/mounts", "utf8").includes(directory);
  for (let i = 0; i < 300 && isMounted(); i++) await sleep(100);
  rmSync(directory, { recursive: true, force: true });
});

/** Leases until the folder is there. @returns what ends it */
async function lease(...args: string[]) {
  const { child, result } = startErofsify(["lease", ...args], { env });
  let said = "";
  child.stdout!.on("data", (text: Buffer) => {
    said += text;
  });
  while (!said.includes("until this command is interrupted") && child.exitCode === null)
    await Promise.race([once(child.stdout!, "data"), once(child, "close")]);
  assert.equal(child.exitCode, null, "it holds the folder");
  return async () => {
    child.kill("SIGINT");
    await result;
  };
}

test("a folder of links as long as it is held, also where a killed lease has left some", async () => {
  const folder = at("folder");
  mkdirSync(folder);
  symlinkSync("/nonexistent", join(folder, "image.erofs"));
  const end = await lease(reference, folder);
  const [blob] = readdirSync(join(folder, "blobs/sha256"));
  assert.notEqual(readlinkSync(join(folder, "image.erofs")), "/nonexistent");
  assert.ok(readFileSync(join(folder, "blobs/sha256", blob!)).includes(CONTENT));
  await end();
  assert.deepEqual([readdirSync(folder), readdirSync(join(folder, "blobs/sha256"))], [["blobs"], []]);
});

test("files of somebody's own are not removed for links", async () => {
  const folder = at("exported");
  const exported = await erofsify(["convert", "--quiet", "--from-source", "-o", folder, reference], {
    env: { EROFSIFY_STORE: at("store") },
  });
  assert.equal(exported.status, 0, exported.stderr);
  const paths = () => readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const before = paths();
  const blob = await erofsify(["lease", reference, folder], { env });
  assert.equal(blob.status, 2, blob.stderr);
  assert.match(blob.stderr, /blobs\/sha256\/[0-9a-f]{64}: is there and is no link, expected a folder of/);
  assert.deepEqual(paths(), before);
  mkdirSync(at("only-meta"));
  writeFileSync(at("only-meta/image.erofs"), "mine");
  const meta = await erofsify(["lease", reference, at("only-meta")], { env });
  assert.equal(meta.status, 2, meta.stderr);
  assert.match(meta.stderr, /only-meta\/image\.erofs: is there and is no link/);
  assert.equal(readFileSync(at("only-meta/image.erofs"), "utf8"), "mine");
  assert.deepEqual(readdirSync(at("only-meta/blobs/sha256")), [], "the links before it are gone again");
});

test("named by digest, what is attached is used when that is asked for", async () => {
  const { digest } = (await getManifest(registry.host, "test/lease", "1"))!;
  const pinned = `${registry.host}/test/lease@${digest}`;
  const refused = await erofsify(["lease", pinned, at("pinned")], { env });
  assert.equal(refused.status, 4, refused.stderr);
  assert.match(refused.stderr, /is used with --trust-referrers/);
  await (await lease("--trust-referrers", pinned, at("pinned")))();
});
