import { rmSync } from "node:fs";
import { join } from "node:path";
import { erofsify, program } from "../convert/index.ts";
import type { QuietOptions } from "../kit/index.ts";
import type { Inputs } from "./inputs.ts";
import { type Sample, sample } from "./sample.ts";

export interface TreeResult {
  /** Data hashed, in bytes. */
  readonly bytes: number;
  /** Each the seconds of a process that ends with the root of a blob's hash tree. */
  readonly ours: number;
  readonly veritysetup: number;
  readonly disturbed: boolean;
  /** The conversion of the blob's image, without trees and with. */
  readonly convert: number;
  readonly convertVerity: number;
}

/** How fast hash trees are made, on a blob of the Linux source. */
export async function measureTrees({ work, linuxSource }: Inputs, quiet: QuietOptions): Promise<TreeResult> {
  const convert = (name: string, ...options: string[]) =>
    sample(erofsify(["--json", "--quiet", "--store", join(work, name), `tar:${linuxSource}`, ...options]), work, quiet);
  const plain = await convert("plain");
  rmSync(join(work, "plain"), { recursive: true });
  const verity = await convert("verity", "--verity");
  const [blob] = (JSON.parse(verity.stdout) as { blobs: Blob[] }).blobs;
  const { dataBlocks, rootHex } = blob!.verity;
  const path = join(work, "verity/blobs/sha256", blob!.digestHex);
  const samples: Record<"ours" | "veritysetup", Sample[]> = { ours: [], veritysetup: [] };
  const hashes = join(work, "hashes");
  const salt = "0".repeat(64);
  for (let round = 0; round < ROUNDS; round++) {
    samples.ours.push(await sample(program("../push/hash-tree.js", path, String(dataBlocks)), work, quiet));
    // The same data blocks into a file of its own: a format over the blob would write to it.
    const args = ["format", `--data-blocks=${dataBlocks}`, `--salt=${salt}`, path, hashes];
    samples.veritysetup.push(await sample({ command: "veritysetup", args }, work, quiet));
    rmSync(hashes);
  }
  for (const one of [...samples.ours, ...samples.veritysetup])
    if (!one.stdout.includes(rootHex)) throw new Error(`another root than ${rootHex}: ${one.stdout}`);
  const least = (all: readonly Sample[]) => Math.min(...all.map(({ wallSeconds }) => wallSeconds));
  const all = [...samples.ours, ...samples.veritysetup, plain, verity];
  return {
    bytes: dataBlocks * 4096,
    ours: least(samples.ours),
    veritysetup: least(samples.veritysetup),
    disturbed: all.some(({ disturbed }) => disturbed),
    convert: plain.wallSeconds,
    convertVerity: verity.wallSeconds,
  };
}

/** Both in turn so often; the least counts, because only others make it more. */
const ROUNDS = 3;

interface Blob {
  readonly digestHex: string;
  readonly verity: { readonly dataBlocks: number; readonly rootHex: string };
}
