import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openImage } from "../open/index.ts";
import { buildTar, erofsify, run, type TarEntry } from "../testkit/index.ts";
import { guestMemoryOptions, imagePlaces } from "../vm/index.ts";

/** An image in a store, as ShellGuest takes it. */
export interface GuestImage {
  readonly storeRoot: string;
  readonly image: string;
}

// This file is dist/builder/guestkit/images.js when it runs.
const WORKLOAD_IMAGE = fileURLToPath(new URL("../../../samples/lab/workload-image.sh", import.meta.url));

/** Debian with git, sqlite3, gcc and fio, and folders /volume and /other; made when absent. Its store is in `work`. */
export async function workloadImage(work: string): Promise<GuestImage> {
  return convertTar((await run(WORKLOAD_IMAGE, [])).stdout.trim(), work);
}

/** An image of these entries. Its store is in `work`. */
export async function imageOfEntries(entries: readonly TarEntry[], work: string): Promise<GuestImage> {
  const path = join(work, "entries.tar");
  await writeFile(path, buildTar(entries));
  return convertTar(path, work);
}

/** What `blobd virtiofs` is told of an image that is the root of a guest with this much memory. */
export async function imageMemoryOptions({ storeRoot, image }: GuestImage, memoryBytes: number): Promise<string[]> {
  const opened = await openImage(image, { storeRoot });
  try {
    return guestMemoryOptions(await imagePlaces(opened, memoryBytes, storeRoot));
  } finally {
    opened.close();
  }
}

async function convertTar(path: string, work: string): Promise<GuestImage> {
  const [storeRoot, image] = [join(work, "store"), `tar:${path}`];
  const { status, stderr } = await erofsify(["convert", "--quiet", "--store", storeRoot, image]);
  if (status !== 0) throw new Error(`erofsify convert ${image}: ${stderr}`);
  return { storeRoot, image };
}
