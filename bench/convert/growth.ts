import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { buildTar } from "../../builder/testkit/index.ts";
import type { Group } from "./case.ts";
import { erofsifyCase } from "./cases.ts";
import { blobPath } from "./layout.ts";
import { type Setting, TAG } from "./setting.ts";
import { finishLayout, type LayoutLayer, newLayout } from "./variants.ts";

/** An image of a certain size: files of one size, all different, in layers of like weight. */
interface Size {
  readonly name: string;
  readonly filesPerLayer: number;
  readonly fileBytes: number;
}

const LAYERS = 3;
/** The image that the others are held against; also a name in the results. */
export const GROWTH_BASE = "12,000 files, 0.2 GB";
export const GROWTH_BYTES = "12,000 files, 0.8 GB";
const SIZES: readonly Size[] = [
  { name: GROWTH_BASE, filesPerLayer: 4000, fileBytes: 16 << 10 },
  { name: "12,000 files, 0.4 GB", filesPerLayer: 4000, fileBytes: 32 << 10 },
  { name: GROWTH_BYTES, filesPerLayer: 4000, fileBytes: 64 << 10 },
  { name: "24,000 files, 0.2 GB", filesPerLayer: 8000, fileBytes: 8 << 10 },
  { name: "48,000 files, 0.2 GB", filesPerLayer: 16_000, fileBytes: 4 << 10 },
];

/** Memory as images grow: in bytes with the same files, in files with the same bytes. Makes the images: some seconds. */
export async function growth(setting: Setting): Promise<Group> {
  const text = hexText();
  const cases = [];
  for (const size of SIZES)
    cases.push(erofsifyCase(setting, size.name, `oci:${await makeImage(setting, text, size)}:${TAG}`));
  return { id: "growth", title: "Made-up images of three layers, growing", cases };
}

async function makeImage(setting: Setting, text: Buffer, size: Size): Promise<string> {
  const layout = newLayout(setting, "growth");
  const layers: LayoutLayer[] = [];
  for (let layer = 0; layer < LAYERS; layer++) layers.push(await makeLayer(layout, layer, text, size));
  finishLayout(layout, layers);
  return layout;
}

async function makeLayer(layout: string, layer: number, text: Buffer, size: Size): Promise<LayoutLayer> {
  const unfinished = join(layout, "layer");
  const script = 'exec pigz -1 --no-name >"$1"';
  const pigz = spawn("sh", ["-c", script, "sh", unfinished], { stdio: ["pipe", "inherit", "inherit"] });
  const tar = createHash("sha256");
  for (const piece of tarPieces(layer, text, size)) {
    tar.update(piece);
    if (!pigz.stdin.write(piece)) await once(pigz.stdin, "drain");
  }
  pigz.stdin.end();
  await ended(pigz);
  const compressed = createHash("sha256");
  for await (const piece of createReadStream(unfinished)) compressed.update(piece as Buffer);
  const digest = `sha256:${compressed.digest("hex")}`;
  renameSync(unfinished, blobPath(layout, digest));
  const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
  const descriptor = { mediaType, digest, size: statSync(blobPath(layout, digest)).size };
  return { descriptor, diffId: `sha256:${tar.digest("hex")}` };
}

async function ended(child: ChildProcess): Promise<void> {
  const [status] = child.exitCode === null ? await once(child, "close") : [child.exitCode];
  if (status !== 0) throw new Error(`pigz ended with status ${status}`);
}

const TEXT_BYTES = 8 << 20;
const END_BYTES = 1024;

/** A tar of files that compress to about a half and have nothing in common but their letters. */
function* tarPieces(layer: number, text: Buffer, { filesPerLayer, fileBytes }: Size): Generator<Buffer> {
  for (let file = 0; file < filesPerLayer; file++) {
    const start = (file * 7919 * 64 + layer) % (TEXT_BYTES - fileBytes);
    const content = Buffer.concat([
      Buffer.from(`${layer} ${file}\n`),
      text.subarray(start, start + fileBytes),
    ]).subarray(0, fileBytes);
    yield buildTar([{ name: `layer-${layer}/${file >> 7}/${file}`, content }]).subarray(0, -END_BYTES);
  }
  yield Buffer.alloc(END_BYTES);
}

/** Hex digits without an order in them, always the same. */
function hexText(): Buffer {
  const text = Buffer.alloc(TEXT_BYTES);
  for (let at = 0; at < TEXT_BYTES; at += 64)
    text.write(createHash("sha256").update(`${at}`).digest("hex"), at, "latin1");
  return text;
}
