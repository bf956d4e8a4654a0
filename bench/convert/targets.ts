import { GROWTH_BASE, GROWTH_BYTES } from "./growth.ts";
import { MERGE } from "./merges.ts";
import { TOP_ALONE, TOP_CHANGED } from "./reruns.ts";
import { caseOf, type Results } from "./results.ts";

/** Something that was wanted, and what was found. `value` is to be `limit` or less. */
export interface Target {
  readonly wanted: string;
  readonly value: number;
  readonly limit: number;
  readonly unit: "×" | "s" | "MiB";
  /** Wanted, but not required. */
  readonly stretch?: true;
}

const THIRD = 1 / 3;
const STRETCH = 1.3;
const PEAK_MIB = 300;
/** Peak memory may grow this much when the bytes of an image grow fourfold. */
const FLAT = 1.1;
const MERGE_SECONDS = 0.5;
const MIB = 1 << 20;

/** What the project wants of the conversion, held against medians (and peaks of memory, where the highest counts). */
export function targetsOf(results: Pick<Results, "groups">): Target[] {
  const wall = (group: string, name: string) => caseOf(results, group, name).wallSeconds.median;
  const has = (group: string) => results.groups.some(({ id }) => id === group);
  const targets: Target[] = [];
  const faster = (group: string, what: string, peer: string) => {
    const value = wall(group, "erofsify") / wall(group, peer);
    targets.push({ wanted: `${what}: at most a third of ${peer}'s time`, value, limit: THIRD, unit: "×" });
  };
  const nearLimit = (group: string, what: string) => {
    for (const limit of ["limit: zlib in Node.js", "limit: ISA-L in Node.js"]) {
      const value = wall(group, "erofsify") / wall(group, limit);
      const wanted = `${what}: within ${STRETCH} of the ${limit}`;
      targets.push({ wanted, value, limit: STRETCH, unit: "×", stretch: true });
    }
  };
  if (has("image")) {
    for (const peer of ["mkfs.erofs --oci=f", "containerd, overlayfs", "containerd, erofs"])
      faster("image", "three layers", peer);
    nearLimit("image", "three layers");
  }
  if (has("linux-source")) {
    for (const peer of ["mkfs.erofs --tar=f --gzip", "tar xzf"]) faster("linux-source", "linux-source", peer);
    nearLimit("linux-source", "linux-source");
  }
  for (const [group, what] of [
    ["image", "three layers"],
    ["linux-source", "linux-source"],
  ] as const)
    if (has(group)) {
      const value = caseOf(results, group, "erofsify").peakBytes.max / MIB;
      targets.push({ wanted: `${what}: peak memory`, value, limit: PEAK_MIB, unit: "MiB" });
    }
  if (has("growth")) {
    const peak = (name: string) => caseOf(results, "growth", name).peakBytes.median;
    const value = peak(GROWTH_BYTES) / peak(GROWTH_BASE);
    targets.push({ wanted: "peak memory when an image's bytes grow fourfold", value, limit: FLAT, unit: "×" });
  }
  if (has("rerun")) {
    const value = wall("rerun", TOP_CHANGED) - wall("rerun", TOP_ALONE);
    const wanted = "a changed top layer costs that layer and the merge: time above that layer's alone";
    targets.push({ wanted, value, limit: MERGE_SECONDS, unit: "s" });
  }
  if (has("merge")) {
    const value = caseOf(results, "merge", MERGE).wallSeconds.median;
    targets.push({ wanted: "merge of metas with 100,000 files", value, limit: MERGE_SECONDS, unit: "s" });
  }
  return targets;
}

export function isMet({ value, limit }: Target): boolean {
  return value <= limit;
}
