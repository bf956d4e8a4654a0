/** The host's part of a read: page faults of a mapping that was not there and of one that was, and many readers at once. */
import { existsSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseFsload } from "../../builder/guestkit/index.ts";
import { type Lease, openLazy } from "../../builder/lazy/index.ts";
import { parseSource } from "../../builder/names/index.ts";
import { run, startServer } from "../../builder/testkit/index.ts";
import { type Disturbance, isDisturbed, type QuietOptions, whenQuiet } from "../kit/index.ts";
import { BARE, type Inputs } from "./inputs.ts";

export const READS = ["read", "read4k", "randread", "mapread", "maprand"] as const;
export type Read = (typeof READS)[number];

const RANDOM_READS = "200000";
/** What fsload is told before and behind the file's name. */
const LOADS: Readonly<Record<Read, readonly [operation: string, ...rest: string[]]>> = {
  read: ["read"],
  read4k: ["read", "4096"],
  randread: ["randread", RANDOM_READS],
  mapread: ["mapread"],
  maprand: ["maprand", RANDOM_READS],
};

/**
 * A cached file read in one way, in seconds: a copy of the blob that has nothing to do with us, the file that a guest is
 * given when all of the blob is there, and the one of a guest that was there before it.
 */
export interface WarmReading extends Disturbance {
  readonly read: Read;
  readonly plainSeconds: number;
  readonly givenSeconds: number;
  readonly earlierSeconds: number;
  readonly disturbed: boolean;
}

export interface HostResults {
  readonly blobBytes: number;
  /** The first access to each 2 MiB of a mapping, in µs: fetched, cached in the mount's file, cached in the blob's own. */
  readonly coldFaultsUs: readonly number[];
  readonly warmFaultsUs: readonly number[];
  readonly plainFaultsUs: readonly number[];
  readonly warm: readonly WarmReading[];
  readonly readers: { readonly count: number; readonly seconds: number; readonly tookMs: readonly number[] };
}

const ROUNDS = 5;
const READERS = 64;
const READS_EACH = 40;
const READ_BYTES = 4096;
// This file is dist/bench/lazy/host.js when it runs.
const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));
const READERS_PROGRAM = fileURLToPath(new URL("./readers-program.js", import.meta.url));

/** From the registry on this machine, without a link. */
export async function measureHost(inputs: Inputs, work: string, quiet: QuietOptions): Promise<HostResults> {
  const { fsloadPath } = inputs;
  const faults = async (path: string) =>
    (await run(fsloadPath, ["ranges", path])).stdout
      .trim()
      .split(" ")
      .map((nanoseconds) => Number(nanoseconds) / 1000);
  const found = await withLazyBlob(inputs, join(work, "faults"), async (lazyPath, plainPath, giveAgain) => {
    const coldFaultsUs = await faults(lazyPath);
    // What the faults have left out comes as well: all of both is cached then.
    await run(fsloadPath, ["read", lazyPath]);
    const givenPath = await giveAgain();
    for (const path of [givenPath, plainPath]) await run(fsloadPath, ["read", path]);
    const plainFaultsUs = await faults(plainPath);
    const warmFaultsUs = await faults(lazyPath);
    const warm: WarmReading[] = [];
    const seconds = async (read: Read, path: string) => {
      const [operation, ...rest] = LOADS[read];
      return parseFsload((await run(fsloadPath, [operation, path, ...rest])).stdout).seconds;
    };
    for (const read of READS)
      for (let round = 0; round < ROUNDS; round++) {
        const reading = await whenQuiet(quiet, async () => ({
          plainSeconds: await seconds(read, plainPath),
          givenSeconds: await seconds(read, givenPath),
          earlierSeconds: await seconds(read, lazyPath),
        }));
        const { plainSeconds, givenSeconds, earlierSeconds } = reading;
        const disturbed = isDisturbed(plainSeconds + givenSeconds + earlierSeconds, reading);
        warm.push({ read, ...reading, disturbed });
      }
    return { blobBytes: statSync(plainPath).size, coldFaultsUs, warmFaultsUs, plainFaultsUs, warm };
  });
  const readers = await withLazyBlob(inputs, join(work, "readers"), async (path) => {
    const args = [READERS_PROGRAM, path, READERS, READS_EACH, READ_BYTES].map(String);
    const { stdout } = await run(process.execPath, args, { env: { UV_THREADPOOL_SIZE: String(READERS) } });
    return { count: READERS, ...(JSON.parse(stdout) as { seconds: number; tookMs: number[] }) };
  });
  return { ...found, readers };
}

/** The largest blob of the image in a store of its own, of which nothing is there, and the same one as it is elsewhere. */
async function withLazyBlob<T>(
  { registry, repository, storeRoot }: Inputs,
  lazyStore: string,
  use: (lazyPath: string, plainPath: string, giveAgain: () => Promise<string>) => Promise<T>,
): Promise<T> {
  const serve = [
    "UV_THREADPOOL_SIZE=16",
    process.execPath,
    BLOBD,
    "serve",
    "--store",
    lazyStore,
    "--log-level",
    "error",
  ];
  const server = await startServer("env", serve, /\{/);
  const leases: Lease[] = [];
  const give = async () => {
    const spec = parseSource(`${registry.host}/${repository}:${BARE}`);
    const { image, lease } = await openLazy(spec, { storeRoot: lazyStore, signal: new AbortController().signal });
    leases.push(lease);
    const sizes = image.devicePaths.map((path) => statSync(path).size);
    const largest = sizes.indexOf(Math.max(...sizes));
    image.close();
    return { path: image.devicePaths[largest]!, digestHex: image.stored!.record.blobs[largest]!.digestHex };
  };
  try {
    const { path, digestHex } = await give();
    const whole = join(lazyStore, "blobs/sha256", digestHex);
    const giveAgain = async () => {
      while (!existsSync(whole)) await sleep(50);
      return (await give()).path;
    };
    return await use(path, join(storeRoot, "blobs/sha256", digestHex), giveAgain);
  } finally {
    for (const lease of leases) lease.end();
    await server.stop();
    await rm(lazyStore, { recursive: true, force: true });
  }
}
