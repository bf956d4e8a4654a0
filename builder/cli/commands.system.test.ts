import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { EDGE_TAG, type ErofsifyResult, erofsify, run, tempDir, writeEdgeImage } from "../testkit/index.ts";

// What the commands print, and that `check` finds what is damaged.

const directory = tempDir();
const at = (name: string) => join(directory, name);
const image = `oci:${directory}/layout:${EDGE_TAG}`;
const command = (...args: string[]) => erofsify(args, { env: { EROFSIFY_STORE: at("store") }, cwd: directory });
let converted: ErofsifyResult;

async function succeed(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await command(...args);
  assert.deepEqual([status, stderr], [0, ""], args.join(" "));
  return stdout;
}

before(async () => {
  await writeEdgeImage(at("layout"));
  converted = await command(image, "-o", at("export"), "--single", at("flat.erofs"));
});

test("convert tells of each layer on stderr, and of the result on stdout", () => {
  assert.equal(converted.status, 0, converted.stderr);
  const lines = converted.stderr.trimEnd().split("\n");
  assert.match(lines[0]!, /: 3 layers$/);
  assert.equal(lines.filter((line) => /^[0-9a-f]{12}: converting [\d.]+ [kM]?B$/.test(line)).length, 3);
  assert.equal(lines.filter((line) => /^[0-9a-f]{12}: converted [\d.]+ [kM]?B in [\d.]+ s$/.test(line)).length, 3);
  assert.equal(lines.at(-1), "merging 3 layers");
  const result = Object.fromEntries(
    converted.stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.split(/: +/, 2)),
  );
  assert.deepEqual(Object.keys(result), [
    "image",
    "result",
    "layers",
    "files",
    "bytes in",
    "bytes out",
    "deduplicated",
    "time",
  ]);
  assert.equal(result.result, `${at("export")}/image.erofs, ${at("flat.erofs")}`);
  assert.equal(result.layers, "3 (3 converted, 0 found in the store)");
});

test("on a terminal there is a bar per layer, the result below it, and the cursor is back", async () => {
  const main = new URL("./main.js", import.meta.url).pathname;
  const command = `'${process.execPath}' '${main}' --store '${at("terminal")}' '${image}'`;
  const { stdout } = await run("script", ["--quiet", "--return", "--command", command, "/dev/null"]);
  for (const layer of JSON.parse(await succeed("--json", "--quiet", image)).layerDetails)
    assert.match(stdout, new RegExp(`${layer.digest.slice(7, 19)}: converted +█+ `));
  const control = "\x1b[";
  const [bars, result] = stdout.split(`${control}?25h`);
  assert.ok(bars!.includes(`${control}?25l`), "the cursor is hidden while bars move");
  const text = result!.slice(result!.indexOf("image:"));
  assert.ok(!text.includes(control), text);
  assert.match(text, /time: +[\d.]+ s\r\n$/);
});

test("convert --json has a shape that scripts can rely on, the same when all is known already", async () => {
  const again = JSON.parse(await succeed("--json", "--quiet", image));
  const types = (value: object) => Object.fromEntries(Object.entries(value).map(([key, v]) => [key, typeof v]));
  assert.deepEqual(types(again), {
    reference: "string",
    manifestDigest: "string",
    store: "string",
    image: "string",
    meta: "object",
    blobs: "object",
    exported: "object",
    cached: "boolean",
    layers: "number",
    layersConverted: "number",
    inodes: "number",
    files: "number",
    bytesIn: "number",
    tarBytes: "number",
    bytesOut: "number",
    deduplicatedBytes: "number",
    dictionaryBytes: "number",
    seconds: "number",
    layerDetails: "object",
  });
  assert.deepEqual([again.cached, again.layers, again.layersConverted], [true, 3, 0]);
  const file = { digestHex: "string", size: "number", blocks: "number" };
  for (const stored of [again.meta, ...again.blobs]) assert.deepEqual(types(stored), file);
  rmSync(at("fresh"), { recursive: true, force: true });
  const { stdout } = await command("--json", "--quiet", "--store", at("fresh"), image);
  const shape = (value: unknown): unknown =>
    typeof value === "object" && value !== null ? Object.entries(value).map(([k, v]) => [k, shape(v)]) : typeof value;
  assert.deepEqual(shape(JSON.parse(stdout)), shape(again));
});

test("inspect, as text and as JSON, of an image, an export and a flat image", async () => {
  const text = await succeed("inspect", image);
  assert.match(text, /^image: +oci:.*\nmanifest: +sha256:\w{64}\n/);
  assert.match(text, /slot +blob +size +used +shared +flat address\n +1 /);
  assert.match(text, /layer +files +unpacked +deduplicated +holes\n/);
  const known = JSON.parse(await succeed("inspect", "--json", image));
  assert.deepEqual(Object.keys(known), [
    "references",
    "manifestDigest",
    "path",
    "superblock",
    "devices",
    "statistics",
    "layers",
  ]);
  assert.equal(known.devices.length, 3);
  for (const target of [at("export"), at("flat.erofs")]) {
    const { superblock, statistics } = JSON.parse(await succeed("inspect", "--json", target));
    assert.equal(superblock.inodes, known.superblock.inodes);
    assert.equal(statistics.regularFiles, known.statistics.regularFiles);
  }
});

test("ls lists like ls, also what a terminal could not show", async () => {
  assert.match(await succeed("ls", image), /^absolute\nabsolute-lib\nattributes\n/);
  const long = await succeed("ls", "-l", image, "/types");
  assert.match(long, /^brw-rw---- +1 +0 +6 +259:300000 +2023-\S+Z +block$/m);
  assert.match(long, /^-rwsr-sr-x +1 +0 +0 +1 +\S+Z +setuid$/m);
  assert.match(long, /^prw------- .* fifo$/m);
  assert.match(long, /^lrwxrwxrwx .* dangling -> \/no\/such\/file$/m);
  assert.match(await succeed("ls", image, "/names"), /^latin1-\\xe9\n(.*\n)*new\\x0aline\n/m);
  assert.match(await succeed("ls", "-R", image, "/usr"), /^\/usr:\nlib\n\n\/usr\/lib:\nlibx\.so\n/);
  assert.match(await succeed("ls", "-l", image, "/lib/libx.so"), / 2 .* \/lib\/libx\.so\n$/, "through a symlink");
});

test("cat writes a file's bytes, from every form of the image", async () => {
  for (const target of [image, at("export"), at("flat.erofs")]) {
    assert.equal(await succeed("cat", target, "/types/hard2"), "hard");
    assert.equal(await succeed("cat", target, "/twice"), "third");
  }
  const [meta, ...blobs] = [
    join(at("export"), "image.erofs"),
    ...JSON.parse(await succeed("inspect", "--json", at("export"))).devices.map(({ path }: { path: string }) => path),
  ] as string[];
  copyFileSync(meta!, at("alone.erofs"));
  assert.match((await command("cat", at("alone.erofs"), "/twice")).stderr, /alone\.erofs needs the blob .*--device/);
  const devices = blobs.flatMap((path) => ["--device", path]);
  assert.equal(await succeed("cat", at("alone.erofs"), "/twice", ...devices), "third");
});

for (const [path, status, says] of [
  ["/nothing", 1, /\/nothing: no nothing there/],
  ["/types/dangling", 1, /\/types\/dangling: no no there/],
  ["/types", 2, /\/types is a directory, expected a regular file/],
  ["/types/fifo", 2, /\/types\/fifo is a special file, expected a regular file/],
] as const)
  test(`cat ${path} is an error`, async () => {
    const result = await command("cat", image, path);
    assert.match(result.stderr, says);
    assert.equal(result.status, status);
  });

for (const args of ["dump", "cat", "ls -R", "inspect", "--help"])
  test(`${args}: a reader that goes away ends it quietly`, () => {
    const main = new URL("./main.js", import.meta.url).pathname;
    const rest = args === "--help" ? "" : ` '${image}'${args === "cat" ? " /sizes/big" : ""}`;
    const script = `('${process.execPath}' '${main}' ${args}${rest}; echo "status $?" >&2) | head -c 1 >/dev/null`;
    const { stderr } = spawnSync("sh", ["-c", script], { env: { ...process.env, EROFSIFY_STORE: at("store") } });
    assert.equal(stderr.toString(), "status 0\n");
  });

/** An export folder of its own, with files that can be written to. */
async function damagedExport(name: string): Promise<{ meta: string; blobs: string[] }> {
  await run("cp", ["-r", at("export"), at(name)]);
  const folder = join(at(name), "blobs/sha256");
  const files = readdirSync(folder).map((file) => join(folder, file));
  const meta = join(at(name), "image.erofs");
  for (const file of [meta, ...files]) chmodSync(file, 0o644);
  return { meta, blobs: files };
}

function flipByte(file: string, position: number): void {
  const fd = openSync(file, "r+");
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, position);
  byte[0]! ^= 1;
  writeSync(fd, byte, 0, 1, position);
  closeSync(fd);
}

const DAMAGES: readonly [what: string, damage: (files: { meta: string; blobs: string[] }) => void, says: RegExp][] = [
  ["a byte of the superblock", ({ meta }) => flipByte(meta, 1024 + 44), /checksum/],
  [
    "a byte that no structure depends on",
    ({ meta }) => flipByte(meta, 20_000),
    /erofs_super_block\.uuid at byte 1072: .*changed/,
  ],
  ["a byte of a blob", ({ blobs }) => flipByte(blobs[0]!, 100), /found sha256 \w{64}, expected \w{64}/],
  ["a blob cut short", ({ blobs }) => truncateSync(blobs[0]!, 4096), /found 4096 bytes, expected \d+ by the device/],
  ["a blob that is missing", ({ blobs }) => rmSync(blobs[0]!), /image\.erofs needs the blob \w{64}/],
  ["metadata cut short", ({ meta }) => truncateSync(meta, 8192), /at byte/],
];
for (const [i, [what, damage, says]] of DAMAGES.entries())
  test(`check finds ${what}`, async () => {
    const name = `damaged${i}`;
    damage(await damagedExport(name));
    const { status, stdout, stderr } = await command("check", at(name));
    assert.match(stdout + stderr, says);
    assert.match(stderr, /^erofsify: [^\n]+\n$/);
    assert.equal(status, 4);
  });

test("check --no-digests reads no blob, and --json lists what is wrong", async () => {
  const { blobs } = await damagedExport("json");
  flipByte(blobs[0]!, 0);
  assert.match(await succeed("check", "--no-digests", at("json")), /good \(\d+ inodes, digests not checked\)/);
  const { status, stdout } = await command("check", "--json", at("json"));
  assert.equal(status, 4);
  const { problems, blobProblems, statistics } = JSON.parse(stdout);
  assert.deepEqual(problems, []);
  assert.equal(blobProblems.length, 1);
  assert.equal(blobProblems[0].path, blobs[0]);
  assert.ok(statistics.inodes > 400);
});

test("-o into a folder that is there adds to it, and replaces what was exported before", async () => {
  mkdirSync(at("there"));
  for (let i = 0; i < 2; i++) await succeed("--quiet", image, "-o", at("there"));
  assert.deepEqual(readdirSync(at("there")).sort(), ["blobs", "image.erofs"]);
  assert.match(await succeed("check", at("there")), /good/);
});

test("umount leaves alone what is no EROFS", async () => {
  const { status, stderr } = await command("umount", "/proc");
  assert.deepEqual([status, stderr], [2, "erofsify: /proc: no EROFS image is mounted there\n"]);
  assert.ok(existsSync("/proc/self"));
});

test("umount of a mount in use says so, and of a folder inside one", async () => {
  await succeed("mount", image, at("busy"));
  const inside = await command("umount", join(at("busy"), "usr"));
  assert.deepEqual([inside.status, inside.stderr.includes("no EROFS image is mounted there")], [2, true]);
  const fd = openSync(join(at("busy"), "usr"), "r");
  const busy = await command("umount", at("busy"));
  closeSync(fd);
  assert.match(busy.stderr, /^erofsify: .*busy.*EBUSY.*\n$/s);
  assert.equal(busy.status, 1);
  await succeed("umount", at("busy"));
});
