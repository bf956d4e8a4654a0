import { createHash } from "node:crypto";
import { appendFileSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../builder/testkit/index.ts";
import { erofsify, shell } from "../convert/index.ts";
import type { QuietOptions } from "../kit/index.ts";
import type { Inputs } from "./inputs.ts";
import { sample } from "./sample.ts";
import { LEVEL } from "./throughput.ts";

/** Versions of one image of one layer, each built anew. */
const VERSIONS = 5;
/** One of so many files changes with each version. */
const CHANGE_EVERY = 20;
/** What of the Linux source the image holds. */
const FOLDERS = ["fs", "net", "include", "kernel", "arch/x86"];

export interface VersionResult {
  readonly version: number;
  /** The version's tar.gz. */
  readonly tarBytes: number;
  /** Files that differ from the version before, or all of the first: how many, and their bytes. */
  readonly changedFiles: number;
  readonly changedBytes: number;
  /** These files as a tar by zstd. */
  readonly changedPackedBytes: number;
  /** What a push adds to the registry, without a dictionary and with the version before as one. */
  readonly addedBytes: number;
  readonly addedWithDictionaryBytes: number;
  /** What the conversion with the dictionary took, and what it added to the store, in bytes on the disk. */
  readonly seconds: number;
  readonly storeBytes: number;
}

/** Builds versions of an image and pushes each, on its own and with the one before as a dictionary. */
export async function measureVersions(inputs: Inputs, quiet: QuietOptions): Promise<VersionResult[]> {
  const { work, linuxSource } = inputs;
  const tree = join(work, "tree");
  mkdirSync(tree);
  const folders = FOLDERS.map((folder) => `linux-source-6.1/${folder}`);
  await run("tar", ["xzf", linuxSource, "-C", tree, ...folders]);
  const files = filesBelow(tree);
  const results: VersionResult[] = [];
  const inRegistry = { alone: new Set<string>(), chained: new Set<string>() };
  for (let version = 1; version <= VERSIONS; version++) {
    const changed = version === 1 ? files : change(files, version);
    const source = `tar:${await pack(tree, join(work, `v${version}.tar.gz`))}`;
    const before = version === 1 ? [] : ["--dict", `tar:${join(work, `v${version - 1}.tar.gz`)}`];
    const [alone, chained] = [join(work, "alone"), join(work, "chained")];
    const sizeBefore = await diskBytes(chained);
    const converted = await sample(erofsify(["--quiet", "--store", chained, source, ...before]), work, quiet);
    results.push({
      version,
      tarBytes: statSync(source.slice("tar:".length)).size,
      changedFiles: changed.length,
      changedBytes: changed.reduce((sum, path) => sum + statSync(path).size, 0),
      changedPackedBytes: await packedBytes(work, changed),
      addedBytes: await push(inputs, alone, source, `alone:${version}`, inRegistry.alone),
      addedWithDictionaryBytes: await push(inputs, chained, source, `chained:${version}`, inRegistry.chained),
      seconds: converted.wallSeconds,
      storeBytes: (await diskBytes(chained)) - sizeBefore,
    });
  }
  return results;
}

function filesBelow(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Adds a line to some files, chosen by name and version. */
function change(files: readonly string[], version: number): string[] {
  const chosen = files.filter((path) => {
    const digest = createHash("sha256")
      .update(`${version} ${path.slice(path.indexOf("linux-source"))}`)
      .digest();
    return digest.readUInt32LE(0) % CHANGE_EVERY === 0;
  });
  for (const path of chosen) appendFileSync(path, `/* changed in version ${version} */\n`);
  return chosen;
}

/** The tree as a tar.gz that depends on nothing else. */
async function pack(tree: string, target: string): Promise<string> {
  const tar = "tar --sort=name --mtime=@1700000000 --owner=0 --group=0 --numeric-owner --format=posix";
  const script = `${tar} --pax-option=delete=atime,delete=ctime -C "$1" -c . | pigz -6 -n >"$2"`;
  await run("sh", ["-c", script, "sh", tree, target]);
  return target;
}

async function packedBytes(work: string, files: readonly string[]): Promise<number> {
  const list = join(work, "files");
  writeFileSync(list, `${files.join("\n")}\n`);
  const script = `tar --create --absolute-names --files-from "$1" | zstd -q -${LEVEL} -c | wc -c`;
  return Number((await run("sh", ["-c", script, "sh", list])).stdout);
}

/** Pushes, and returns what the registry did not have. */
async function push({ registry }: Inputs, store: string, source: string, to: string, known: Set<string>) {
  const target = `${registry.host}/versions/${to}`;
  const { command, args } = erofsify(["push", "--json", "--quiet", "--store", store, source, "--to", target]);
  const { stdout } = await run(command, args);
  const { layers } = JSON.parse(stdout) as { layers: { digest: string; size: number }[] };
  const added = layers.filter(({ digest }) => !known.has(digest));
  for (const { digest } of added) known.add(digest);
  return added.reduce((sum, { size }) => sum + size, 0);
}

async function diskBytes(path: string): Promise<number> {
  const { command, args } = shell('[ ! -e "$1" ] || du -s --block-size=1 "$1/blobs"', path);
  return Number((await run(command, args)).stdout.split("\t")[0] || 0);
}
