import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { formatPrefetchList, OCI_MANIFEST, PREFETCH_ANNOTATION, parsePrefetchList } from "../../formats/oci/index.ts";
import {
  buildTar,
  busyboxLayer,
  erofsify,
  guestEnvironment,
  type Registry,
  startRegistry,
  startServer,
  writeOciLayout,
} from "../testkit/index.ts";

// A pushed image in guests of the lab before it has arrived, from Debian's docker-registry.

// Not tempDir: the daemon that the guests share ends after the last of them.
const directory = mkdtempSync(join(tmpdir(), "erofsify-lazy-"));
const at = (name: string) => join(directory, name);
const store = at("lazy-store");
const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));
const FILES = 48;
const contents = Array.from({ length: FILES }, () => randomBytes(1 << 20));
let registry: Registry;
let env: Record<string, string>;
let reference: string;
let storedBytes: number;
/** What the guest whose reads were recorded has fetched. */
let recordedBytes: number;

before(async () => {
  registry = await startRegistry();
  reference = `${registry.host}/test/lazy:erofs`;
  const bottom = [
    ...busyboxLayer(["sh", "cat", "sha256sum", "grep"]),
    { name: "data/", type: "5" },
    ...contents.map((content, i) => ({ name: `data/${i}`, content })),
  ];
  const top = [{ name: "hello", content: "from a blob\n" }];
  await writeOciLayout(join(directory, "layout"), "v1", [buildTar(bottom), buildTar(top)], { Cmd: ["cat", "/hello"] });
  const args = ["push", "--json", "--store", join(directory, "store"), `oci:${directory}/layout:v1`, "--to", reference];
  const { status, stdout, stderr } = await erofsify(args);
  assert.equal(status, 0, stderr);
  storedBytes = JSON.parse(stdout).storedBytes;
  // The daemon that the first guest starts lives as long as this file's guests follow each other.
  env = { ...(await guestEnvironment()), EROFSIFY_STORE: store, EROFSIFY_SERVE_IDLE: "8" };
});
after(async () => {
  await registry.stop();
  const isMounted = () => readFileSync("/proc/mounts", "utf8").includes(directory);
  for (let i = 0; i < 300 && isMounted(); i++) await sleep(100);
  rmSync(directory, { recursive: true, force: true });
});

const lazily = (...command: string[]) => lazilyWith([reference, ...command]);
const lazilyWith = (args: readonly string[], environment: Record<string, string> = env) =>
  erofsify(["run", "--lazy", "--quiet", "--timings", "--timeout", "100", ...args], { env: environment });

/** What the run says it has fetched: bytes as they came, and chunks. */
function fetched(stderr: string): { bytes: number; chunks: number } {
  const [, number, unit, chunks] = /fetched ([\d.]+) (B|kB|MB|GB) in (\d+) chunks/.exec(stderr) ?? assert.fail(stderr);
  return { bytes: Number(number) * { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 }[unit as "B"], chunks: Number(chunks) };
}

const listedBytes = (name: string) =>
  parsePrefetchList(readFileSync(at(name))).ranges.reduce((sum, { bytes }) => sum + bytes, 0);

test("a command runs when a tenth of the image is here, at most; what it read is recorded", async () => {
  const command = ["--", "sh", "-c", "cat /hello; cat /data/7 >/dev/null"];
  const { status, stdout, stderr } = await lazilyWith(["--record", at("list"), reference, ...command]);
  assert.equal(status, 0, stderr);
  assert.equal(stdout, "from a blob\n");
  const { bytes } = fetched(stderr);
  recordedBytes = bytes;
  assert.ok(bytes > 0 && bytes <= storedBytes / 10, `${bytes} of ${storedBytes} bytes`);
});

test("read through, every file is right; then the image is here, and a guest starts without the registry", async () => {
  const recorder = await startServer(
    process.execPath,
    [BLOBD, "trace", "--store", store, "-o", at("all")],
    /recording/,
  );
  const all = await lazily("--", "sh", "-c", "cd /data && sha256sum *");
  assert.equal(all.status, 0, all.stderr);
  await recorder.stop();
  assert.ok(listedBytes("all") > FILES << 20, "all that was read is in the list");
  assert.ok(listedBytes("list") < 12 << 20, `${listedBytes("list")} bytes were listed by the first guest`);
  const sums = new Map(
    all.stdout
      .trim()
      .split("\n")
      .map((line) => [line.slice(66), line.slice(0, 64)]),
  );
  assert.equal(sums.size, FILES);
  for (const [i, content] of contents.entries())
    assert.equal(sums.get(String(i)), createHash("sha256").update(content).digest("hex"), `data/${i}`);
  const again = await lazily("--", "sh", "-c", "sha256sum /data/7");
  assert.equal(again.status, 0, again.stderr);
  assert.equal(again.stdout.slice(0, 64), sums.get("7"));
  assert.equal(fetched(again.stderr).chunks, 0);
});

test("an image that comes with a list is fetched by it, whatever the guest reads", async () => {
  const to = `${registry.host}/test/lazy:listed`;
  const args = ["push", "--json", "--store", at("store"), `oci:${directory}/layout:v1`, "--to", to];
  const pushed = await erofsify([...args, "--prefetch", at("list")]);
  assert.equal(pushed.status, 0, pushed.stderr);
  const elsewhere = { ...env, EROFSIFY_STORE: at("other-store"), EROFSIFY_SERVE_IDLE: "1" };
  const { status, stdout, stderr } = await lazilyWith([to], elsewhere);
  assert.equal(status, 0, stderr);
  assert.equal(stdout, "from a blob\n");
  // A file of 1 MiB of noise that the first guest read and this one did not is here all the same. What the first one got by
  // reading ahead is in no list: up to a chunk, of 512 KiB.
  assert.ok(fetched(stderr).bytes > recordedBytes - 700_000, `${stderr}, the recorded guest ${recordedBytes} bytes`);
});

test("a list that is no good, or of another image, is told and left out", async () => {
  const [, repository] = /\/(.*):/.exec(reference)!;
  const manifests = `http://${registry.host}/v2/${repository}/manifests`;
  const headers = { accept: OCI_MANIFEST, "content-type": OCI_MANIFEST };
  const manifest = (await (await fetch(`${manifests}/erofs`, { headers })).json()) as object;
  const stranger = formatPrefetchList({
    blobs: [`sha256:${"a".repeat(64)}`],
    ranges: [{ blob: 0, offset: 0, bytes: 1 }],
  });
  for (const [tag, list, expected] of [
    [
      "broken",
      '{"version":1,"blobs":[],"ranges":["0 0 1"]}',
      /its prefetch list is not used: .*expected one of 0 blobs/,
    ],
    ["stranger", stranger, /names 1 blobs that are not of this image, such as sha256:aaaa/],
  ] as const) {
    const body = JSON.stringify({ ...manifest, annotations: { [PREFETCH_ANNOTATION]: list } });
    assert.equal((await fetch(`${manifests}/${tag}`, { method: "PUT", headers, body })).status, 201);
    const { status, stderr } = await lazilyWith(["--print", `${registry.host}/${repository}:${tag}`]);
    assert.equal(status, 0, stderr);
    assert.match(stderr, expected);
  }
  writeFileSync(at("stranger"), stranger);
  const args = ["push", "--store", at("store"), `oci:${directory}/layout:v1`, "--to", reference];
  const { status, stderr } = await erofsify([...args, "--prefetch", at("stranger")]);
  assert.equal(status, 2);
  assert.match(stderr, /has no range of a blob of oci:/);
});

test("an image that was not pushed, and one that is not in a registry, are refused with what to do", async () => {
  const layout = await erofsify(["run", "--lazy", `oci:${directory}/layout:v1`], { env });
  assert.equal(layout.status, 125);
  assert.match(layout.stderr, /only an image in a registry can be run before it is here/);
  const missing = await erofsify(["run", "--lazy", `${registry.host}/test/none:erofs`], { env });
  assert.equal(missing.status, 125);
  assert.match(missing.stderr, /does not exist there/);
});
