import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  buildTar,
  busyboxLayer,
  erofsify,
  guestEnvironment,
  type Registry,
  startRegistry,
  writeOciLayout,
} from "../testkit/index.ts";

// A pushed image in guests of the lab before it has arrived, from Debian's docker-registry.

// Not tempDir: the daemon that the guests share ends after the last of them.
const directory = mkdtempSync(join(tmpdir(), "erofsify-lazy-"));
const store = join(directory, "lazy-store");
const FILES = 48;
const contents = Array.from({ length: FILES }, () => randomBytes(1 << 20));
let registry: Registry;
let env: Record<string, string>;
let reference: string;
let storedBytes: number;

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
  const isMounted = () => readFileSync("/proc/mounts", "utf8").includes(store);
  for (let i = 0; i < 300 && isMounted(); i++) await sleep(100);
  rmSync(directory, { recursive: true, force: true });
});

const lazily = (...command: string[]) =>
  erofsify(["run", "--lazy", "--quiet", "--timings", "--timeout", "100", reference, ...command], { env });

/** What the run says it has fetched: bytes as they came, and chunks. */
function fetched(stderr: string): { bytes: number; chunks: number } {
  const [, number, unit, chunks] = /fetched ([\d.]+) (B|kB|MB|GB) in (\d+) chunks/.exec(stderr) ?? assert.fail(stderr);
  return { bytes: Number(number) * { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 }[unit as "B"], chunks: Number(chunks) };
}

test("a command runs when a tenth of the image is here, at most", async () => {
  const { status, stdout, stderr } = await lazily();
  assert.equal(status, 0, stderr);
  assert.equal(stdout, "from a blob\n");
  const { bytes } = fetched(stderr);
  assert.ok(bytes > 0 && bytes <= storedBytes / 10, `${bytes} of ${storedBytes} bytes`);
});

test("read through, every file is right; then the image is here, and a guest starts without the registry", async () => {
  const all = await lazily("--", "sh", "-c", "cd /data && sha256sum *");
  assert.equal(all.status, 0, all.stderr);
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

test("an image that was not pushed, and one that is not in a registry, are refused with what to do", async () => {
  const layout = await erofsify(["run", "--lazy", `oci:${directory}/layout:v1`], { env });
  assert.equal(layout.status, 125);
  assert.match(layout.stderr, /only an image in a registry can be run before it is here/);
  const missing = await erofsify(["run", "--lazy", `${registry.host}/test/none:erofs`], { env });
  assert.equal(missing.status, 125);
  assert.match(missing.stderr, /does not exist there/);
});
