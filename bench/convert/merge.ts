/**
 * Merges the metas of layers in memory as a conversion does, and prints what its parts took, in seconds, as JSON:
 * `node merge.js META…` (lowest layer first). A fresh process, so nothing of it has been compiled before.
 */
import { readFileSync } from "node:fs";
import { bytesSource } from "../../formats/bytes/index.ts";
import { openErofs } from "../../formats/erofs/index.ts";
import { writeErofs } from "../../formats/erofs/writer/index.ts";
import { mergeLayers } from "../../formats/tree/index.ts";

/** What it prints. */
export interface MergeReport {
  readonly readSeconds: number;
  readonly mergeSeconds: number;
  readonly writeSeconds: number;
  /** In the layers, and in the merged image. */
  readonly inodesIn: number;
  readonly inodesOut: number;
}

const marks = [performance.now()];
const images = process.argv.slice(2).map((path) => openErofs(bytesSource(readFileSync(path))));
const trees = images.map((image) => image.toTree());
marks.push(performance.now());
const merged = mergeLayers(trees);
marks.push(performance.now());
const { inodes } = writeErofs(merged, { layout: "devices" });
marks.push(performance.now());
const [readSeconds, mergeSeconds, writeSeconds] = marks.slice(1).map((mark, at) => (mark - marks[at]!) / 1000);
const inodesIn = images.reduce((sum, { superblock }) => sum + superblock.inos, 0);
process.stdout.write(JSON.stringify({ readSeconds, mergeSeconds, writeSeconds, inodesIn, inodesOut: inodes }));
