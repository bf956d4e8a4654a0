import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { erofsify, shell } from "../convert/index.ts";
import type { QuietOptions } from "../kit/index.ts";
import type { Image, Inputs } from "./inputs.ts";
import { type Sample, sample } from "./sample.ts";

/** zstd's level in every form that is compressed by it. */
export const LEVEL = 3;

/** A form of an image, what it took to make it, and what it takes in a registry or as files. */
export interface Form {
  readonly name: string;
  readonly kind: "ours" | "peer";
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly disturbed: boolean;
  /** Size of the result in bytes, where it is one of its own. */
  readonly bytes?: number;
}

export interface ImageResult {
  readonly id: Image["id"];
  readonly name: string;
  readonly tarBytes: number;
  /** Of metadata and blobs in the store. */
  readonly contentBytes: number;
  readonly forms: readonly Form[];
}

export const FORM = {
  convert: "erofsify IMAGE",
  push: "erofsify push, converted before",
  again: "erofsify push, all is there",
  tar: `gzip -dc, zstd -${LEVEL} -T0`,
  mkfs: `mkfs.erofs --tar=f -zzstd,level=${LEVEL}`,
  mkfsLarge: `mkfs.erofs -zzstd,level=${LEVEL} -C1048576`,
} as const;

/** Converts and pushes an image, and has others make their forms of it. */
export async function measureImage(inputs: Inputs, image: Image, quiet: QuietOptions): Promise<ImageResult> {
  const { work, registry, lab } = inputs;
  const store = join(work, `store-${image.id}`);
  const to = `${registry.host}/converted/${image.id}:1`;
  const forms: Form[] = [];
  const add = (name: string, kind: Form["kind"], one: Sample, bytes?: number) => {
    const { wallSeconds, cpuSeconds, disturbed } = one;
    forms.push({ name, kind, seconds: wallSeconds, cpuSeconds, disturbed, ...(bytes !== undefined && { bytes }) });
  };
  add(FORM.convert, "ours", await sample(erofsify(["--quiet", "--store", store, image.source]), work, quiet));
  const push = erofsify([
    "push",
    "--json",
    "--quiet",
    "--store",
    store,
    image.source,
    "--to",
    to,
    "--level",
    `${LEVEL}`,
  ]);
  const pushed = await sample(push, work, quiet);
  const { contentBytes, storedBytes } = JSON.parse(pushed.stdout) as { contentBytes: number; storedBytes: number };
  add(FORM.push, "ours", pushed, storedBytes);
  add(FORM.again, "ours", await sample(push, work, quiet));
  const zstd = shell(`for file; do gzip -dc "$file" | zstd -q -${LEVEL} -T0 -c; done | wc -c`, ...image.tarballs);
  const tar = await sample(zstd, work, quiet);
  add(FORM.tar, "peer", tar, Number(tar.stdout));
  for (const [name, options] of [
    [FORM.mkfs, []],
    // mkfs.erofs is too slow with either for both images.
    ...(image.id === "linux-source" ? [[FORM.mkfsLarge, ["-C1048576"]] as const] : []),
  ] as const) {
    // One image a layer, as in a registry; out of tars that are there, so that gunzip is not measured.
    const targets = image.tarballs.map((_, i) => join(work, `layer${i}.erofs`));
    const tars = image.tarballs.map((_, i) => join(work, `layer${i}.tar`));
    if (name === FORM.mkfs)
      for (const [i, file] of image.tarballs.entries())
        await sample(shell('gzip -dc "$1" >"$2"', file, tars[i]!), work, { patienceMs: 0 });
    const script = 'while [ $# -gt 0 ]; do mkfs.erofs --quiet --tar=f $OPTIONS "$1" "$2" || exit; shift 2; done';
    const pairs = targets.flatMap((target, i) => [target, tars[i]!]);
    const environment = `OPTIONS=${[`-zzstd,level=${LEVEL}`, ...options].join(" ")}`;
    const made = await sample(lab.command("env", environment, "sh", "-c", script, "sh", ...pairs), work, quiet);
    const bytes = targets.reduce((sum, target) => sum + statSync(target).size, 0);
    add(name, "peer", made, bytes);
    for (const target of targets) rmSync(target);
  }
  for (const [i] of image.tarballs.entries()) rmSync(join(work, `layer${i}.tar`));
  const { id, name, tarBytes } = image;
  return { id, name, tarBytes, contentBytes, forms };
}
