import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  buildTar,
  busyboxLayer,
  erofsify,
  guestEnvironment,
  type Registry,
  startErofsify,
  startRegistry,
  tempDir,
  writeOciLayout,
} from "../testkit/index.ts";

// Guests whose kernel checks every block by dm-verity.

const directory = tempDir();
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
after(() => registry.stop());

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
