import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from "node:fs";
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
  startErofsify,
  startRegistry,
  writeOciLayout,
} from "../testkit/index.ts";

// Guests whose kernel checks every block by dm-verity.

// Not tempDir: the daemon of the lazy guest ends after it.
const directory = mkdtempSync(join(tmpdir(), "erofsify-verity-"));
const image = `oci:${directory}/layout:app`;
const store = join(directory, "store");
const LARGE = randomBytes(5_000_000);
const VICTIM = randomBytes(100_000);
let env: Record<string, string>;
let registry: Registry;

before(async () => {
  const bottom = [...busyboxLayer(["sh", "cat", "grep", "sha256sum", "sleep"]), { name: "large", content: LARGE }];
  const top = [{ name: "victim", content: VICTIM }];
  await writeOciLayout(join(directory, "layout"), "app", [buildTar(bottom), buildTar(top)], { Cmd: ["sh"] });
  env = { ...(await guestEnvironment()), EROFSIFY_STORE: store };
  registry = await startRegistry();
});
after(async () => {
  await registry.stop();
  const isMounted = () => readFileSync("/proc/mounts", "utf8").includes(directory);
  for (let i = 0; i < 200 && isMounted(); i++) await sleep(100);
  rmSync(directory, { recursive: true, force: true });
});

/** Flips a bit of the victim, in whichever file of the store holds it. */
function flipBit(): void {
  const folder = join(store, "blobs/sha256");
  for (const name of readdirSync(folder)) {
    const position = readFileSync(join(folder, name)).indexOf(VICTIM);
    if (position < 0) continue;
    const fd = openSync(join(folder, name), "r+");
    writeSync(fd, Uint8Array.of(VICTIM[50_000]! ^ 1), 0, 1, position + 50_000);
    closeSync(fd);
    return;
  }
  assert.fail("no blob holds the victim");
}

test("what the guest could not check is refused before it starts", async () => {
  const out = join(directory, "out");
  const exported = await erofsify(["--quiet", "--verity", "-o", out, image], { env });
  assert.equal(exported.status, 0, exported.stderr);
  const file = await erofsify(["run", "--quiet", "--verity", out], { env });
  assert.equal(file.status, 2, file.stderr);
  assert.match(file.stderr, /nobody tells which digests it must have/);
});

test("a bit that is flipped while the guest runs is caught when it is read; everything else is right", async () => {
  const script = `
    grep ' /image erofs' /proc/1/mounts
    sha256sum </large
    trap go=1 USR1
    echo ready
    while [ -z "$go" ]; do sleep 0.1; done
    cat /victim >/dev/null; echo "victim: $?"
    sha256sum </large`;
  const { child, result } = startErofsify(
    ["run", "--quiet", "--timeout", "60", "--verity", image, "--", "sh", "-c", script],
    { env },
  );
  child.stdout!.on("data", (chunk: Buffer) => {
    if (!chunk.includes("ready")) return;
    flipBit();
    child.kill("SIGUSR1");
  });
  const { status, stdout, stderr } = await result;
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^\/dev\/dm-0 \/image erofs ro,[^ ]*dax=never/m);
  const digest = createHash("sha256").update(LARGE).digest("hex");
  assert.equal(stdout.split(`${digest}  -\n`).length, 3, stdout);
  assert.match(stdout, /^victim: 1$/m);
  assert.match(stderr, /Input\/output error/);
});

test("an image that is not here yet is checked by the roots of its manifest", async () => {
  const reference = (tag: string) => `${registry.host}/test/checked:${tag}`;
  for (const [tag, ...options] of [["trees", "--verity"], ["bare"]] as const) {
    const from = { ...env, EROFSIFY_STORE: join(directory, `pushed-${tag}`) };
    const pushed = await erofsify(["push", "--quiet", image, "--to", reference(tag), ...options], { env: from });
    assert.equal(pushed.status, 0, pushed.stderr);
  }
  const lazily = { ...env, EROFSIFY_STORE: join(directory, "lazy"), EROFSIFY_SERVE_IDLE: "1" };
  const run = ["run", "--quiet", "--timeout", "60", "--lazy", "--verity"];
  const bare = await erofsify([...run, reference("bare")], { env: lazily });
  assert.equal(bare.status, 125);
  assert.match(bare.stderr, /pushed without hash trees/);
  const script = "grep ' /image erofs' /proc/1/mounts; sha256sum </large";
  const { status, stdout, stderr } = await erofsify([...run, reference("trees"), "--", "sh", "-c", script], {
    env: lazily,
  });
  assert.equal(status, 0, stderr);
  const digest = createHash("sha256").update(LARGE).digest("hex");
  assert.match(stdout, new RegExp(`^/dev/dm-0 /image erofs .*dax=never.*\n${digest}  -\n$`));
});
