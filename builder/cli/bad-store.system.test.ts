import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { before, describe, type TestContext, test } from "node:test";
import {
  buildTar,
  EDGE_TAG,
  type ErofsifyResult,
  erofsify,
  run,
  storeState,
  tempDir,
  writeEdgeImage,
  writeOciLayout,
} from "../testkit/index.ts";

// Stores that are full, closed, damaged or in need of pruning.

const directory = tempDir();
const at = (name: string) => join(directory, name);
const EDGE = `oci:${directory}/layout:${EDGE_TAG}`;
/** Root without its power over other users' files, for whom permissions count as for everybody. */
const WITHOUT_POWER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
/** A user ID that is not ours. */
const SOMEBODY = 65_534;
let edgeMeta: string;

before(async () => {
  await writeEdgeImage(at("layout"));
  edgeMeta = metaOf(await convert("reference", EDGE));
});

const convert = (store: string, source: string, ...options: string[]) =>
  erofsify(["--store", at(store), "--json", source, ...options]);

function metaOf({ status, stdout, stderr }: ErofsifyResult): string {
  assert.equal(status, 0, stderr);
  return (JSON.parse(stdout) as { meta: { digestHex: string } }).meta.digestHex;
}

function assertTold({ status, stdout, stderr }: ErofsifyResult, expected: number, says: RegExp): void {
  const lines = stderr.trimEnd().split("\n");
  assert.match(lines.at(-1)!, says);
  assert.deepEqual(
    lines.filter((line) => line.startsWith("erofsify:") || /^ +at /.test(line)),
    lines.slice(-1),
    "one line tells the error",
  );
  assert.deepEqual([status, stdout], [expected, ""]);
}

/** A small file system in memory, for the time of a test. */
async function smallDisk(t: TestContext, name: string, options: string): Promise<void> {
  mkdirSync(at(name));
  await run("mount", ["-t", "tmpfs", "-o", options, "tmpfs", at(name)]);
  t.after(() => run("umount", ["--lazy", at(name)]));
}

test("a full disk: told with what was needed and what is free, and nothing is left; with more room it works", async (t) => {
  await smallDisk(t, "disk", "size=3m");
  const result = await convert("disk/store", EDGE);
  assertTold(result, 5, /erofsify: layer sha256:\w+: .*disk full, needed \d+ more bytes, \d+ are free/);
  const { images, tmp } = storeState(at("disk/store"));
  assert.deepEqual([images, tmp], [[], []]);
  await run("mount", ["-o", "remount,size=64m", at("disk")]);
  assert.equal(metaOf(await convert("disk/store", EDGE)), edgeMeta);
});

for (const [option, target] of [
  ["--single", "flat.erofs"],
  ["--output", "folder"],
] as const)
  test(`a full disk at ${option}: the image is in the store, and no half file beside`, async (t) => {
    const disk = `export-to-${target}`;
    await smallDisk(t, disk, "size=1m");
    const result = await convert("reference", EDGE, option, join(at(disk), target));
    assertTold(result, 5, /erofsify: writing .*export.*: no space left on device/);
    const left = readdirSync(at(disk), { recursive: true }).filter((name) => /tmp|erofs$/.test(String(name)));
    assert.deepEqual(left, []);
  });

test("a read-only disk", async (t) => {
  await smallDisk(t, "read-only", "ro");
  assertTold(
    await convert("read-only/store", EDGE),
    5,
    /opening the store .*read-only\/store: no permission \(EROFS\)/,
  );
  const exported = await convert("reference", EDGE, "-o", at("read-only/export"));
  assertTold(exported, 5, /writing .*read-only\/export: read-only file system/);
});

describe("no permission", { concurrency: 3 }, () => {
  const powerless = (...args: string[]) => erofsify(args, { prefix: WITHOUT_POWER });
  const private_ = (name: string, mode: number) => {
    chownSync(at(name), SOMEBODY, SOMEBODY);
    chmodSync(at(name), mode);
  };

  test("for the store's folder", async () => {
    mkdirSync(at("closed"));
    private_("closed", 0o700);
    assertTold(
      await powerless("--store", at("closed/store"), EDGE),
      5,
      /opening the store .*: no permission \(EACCES\)/,
    );
  });

  test("for a source", async () => {
    for (const name of ["closed.tar", "closed-archive.tar"]) {
      writeFileSync(at(name), buildTar([{ name: "a" }]));
      private_(name, 0o600);
    }
    mkdirSync(at("closed-dir"));
    private_("closed-dir", 0o700);
    for (const source of ["tar:closed.tar", "oci-archive:closed-archive.tar", "dir:closed-dir"]) {
      const result = await powerless("--store", at("open"), source.replace(":", `:${directory}/`));
      assertTold(result, 4, /closed.*: (permission denied|EACCES)/);
    }
  });

  test("for an image, and for a mount", async () => {
    writeFileSync(at("closed.erofs"), "");
    private_("closed.erofs", 0o600);
    assertTold(await powerless("ls", at("closed.erofs")), 1, /EACCES: permission denied, open '.*closed\.erofs'/);
    const args = ["mount", "--store", at("reference"), EDGE, at("mount-point")];
    const result = await erofsify(args, { prefix: ["setpriv", "--bounding-set=-sys_admin"] });
    assertTold(result, 1, /EPERM/);
  });
});

test("a folder that holds something else is no store, and stays as it is", async () => {
  mkdirSync(at("home"));
  writeFileSync(at("home/letter"), "");
  assertTold(await convert("home", EDGE), 4, /home is not a store of this version: it holds letter and no file/);
  assert.deepEqual(readdirSync(at("home")), ["letter"]);
  writeFileSync(at("a-file"), "");
  assertTold(await convert("a-file", EDGE), 5, /opening the store .*a-file: ENOTDIR/);
});

describe("a damaged store is repaired by the next conversion", { concurrency: 2 }, () => {
  const files = (store: string, folder: string) =>
    readdirSync(at(join(store, folder))).map((f) => at(join(store, folder, f)));
  const overwrite = (path: string) => {
    chmodSync(path, 0o644);
    const bytes = readFileSync(path);
    bytes[100]! ^= 1;
    writeFileSync(path, bytes);
  };
  const damages: readonly [what: string, folder: string, damage: (path: string) => void, warns: boolean][] = [
    ["a wrong byte in every blob and meta", "blobs/sha256", overwrite, true],
    ["every blob and meta cut short", "blobs/sha256", (path) => truncateSync(path, 4096), true],
    ["every blob and meta missing", "blobs/sha256", (path) => rmSync(path), true],
    ["records that are no JSON", "layers", (path) => writeFileSync(path, "{"), true],
    ["images without records", "images", (path) => rmSync(path), false],
    ["times that changed, and nothing else", "blobs/sha256", (path) => utimesSync(path, 1, 1), false],
  ];
  for (const [i, [what, folder, damage, warns]] of damages.entries())
    test(what, async () => {
      const store = `damaged${i}`;
      metaOf(await convert(store, EDGE));
      const state = storeState(at(store));
      for (const path of files(store, folder)) damage(path);
      const result = await convert(store, EDGE);
      assert.equal(metaOf(result), edgeMeta);
      assert.equal(/warning: .* ignored: /.test(result.stderr), warns, result.stderr);
      assert.deepEqual(storeState(at(store)), state);
      const checked = await erofsify(["check", "--store", at(store), EDGE]);
      assert.equal(checked.status, 0, checked.stderr + checked.stdout);
    });

  test("a look at an image whose blob is damaged says so", async () => {
    metaOf(await convert("looked-at", EDGE));
    overwrite(files("looked-at", "blobs/sha256")[0]!);
    const result = await erofsify(["ls", "--store", at("looked-at"), EDGE]);
    assert.match(
      result.stderr,
      /^erofsify: warning: .*its blob \w{64} is corrupt\nerofsify: no file .*convert it first/,
    );
    assert.equal(result.status, 4);
  });
});

describe("prune", { concurrency: 1 }, () => {
  const prune = async (...options: string[]) => {
    const { status, stdout, stderr } = await erofsify(["prune", "--store", at("pruned"), ...options]);
    assert.deepEqual([status, stderr], [0, ""]);
    return stdout;
  };
  const image = (name: string) => `oci:${at("images")}/${name}:i`;

  before(async () => {
    const shared = buildTar([{ name: "shared", content: Buffer.alloc(3_000_000, "shared") }]);
    for (const name of ["old", "new"]) {
      const own = buildTar([{ name, content: Buffer.alloc(3_000_000, name) }]);
      await writeOciLayout(join(at("images"), name), "i", [shared, own]);
      metaOf(await convert("pruned", image(name)));
    }
    // Found again: used more recently than `new`, until that is used, too.
    metaOf(await convert("pruned", image("old")));
    assert.equal((await erofsify(["ls", "--store", at("pruned"), image("new")])).status, 0);
  });

  test("has nothing to do while all is in use", async () => {
    const before = storeState(at("pruned"));
    assert.match(await prune(), /^removed 0 images, 0 layers, 0 blobs: 0 B; [\d.]+ MB stay\n$/);
    assert.deepEqual(storeState(at("pruned")), before);
  });

  test("--dry-run says what would go and removes nothing", async () => {
    const before = storeState(at("pruned"));
    const said = await prune("--dry-run", "--max-size", "0");
    assert.match(said, /^would remove oci:.*\nwould remove oci:.*\nwould remove 2 images, 3 layers, \d+ blobs: /);
    assert.deepEqual(storeState(at("pruned")), before);
  });

  test("--max-size takes the image that was used least recently, and leaves what another one needs", async () => {
    const { keptBytes } = JSON.parse(await prune("--dry-run", "--json"));
    const result = JSON.parse(await prune("--json", "--max-size", String(keptBytes - 1)));
    assert.deepEqual(
      result.images.map(({ references }: { references: string[] }) => references),
      [[image("old")]],
    );
    assert.equal(result.layers.length, 1);
    const checked = await erofsify(["check", "--store", at("pruned"), image("new")]);
    assert.equal(checked.status, 0, checked.stderr);
    const gone = await erofsify(["ls", "--store", at("pruned"), image("old")]);
    assert.match(gone.stderr, /no image of that name in the store/);
    const again = JSON.parse((await convert("pruned", image("old"))).stdout);
    assert.equal(again.layersConverted, 1, "the shared layer is still there");
  });

  test("--max-size 0 empties the store", async () => {
    assert.match(await prune("--max-size", "0"), /removed 2 images, 3 layers, \d+ blobs: [\d.]+ MB; 0 B stay\n$/);
    assert.deepEqual(storeState(at("pruned")), { blobs: [], layers: [], images: [], tmp: [] });
    assert.ok(existsSync(at("pruned")));
  });
});
