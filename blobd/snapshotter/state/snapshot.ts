import type { MergedChain, TarIdentity } from "../../conversion/index.ts";

/**
 * What a snapshot is, in containerd's words: `active` can be written to, `view` only read; both may become nothing else
 * but gone, or an active one `committed`, which others build on.
 */
export type Kind = "active" | "view" | "committed";

export interface Usage {
  readonly sizeBytes: number;
  readonly inodes: number;
}

/** A layer of an image that was converted for a snapshot. */
export interface AppliedLayer {
  /** Its key in the store. */
  readonly key: string;
  /** Where its bytes can be had again: the content's digest, size and form, and the namespace that has it. */
  readonly digest: string;
  readonly size: number;
  readonly compression: "none" | "gzip" | "zstd" | "detect";
  readonly namespace: string;
  readonly tar: TarIdentity;
}

/** A snapshot as it is kept. What it holds on disk has its id as name. */
export interface Snapshot {
  readonly id: number;
  readonly name: string;
  /** Name of the committed snapshot below; "" at the bottom. */
  readonly parent: string;
  readonly kind: Kind;
  readonly labels: Readonly<Record<string, string>>;
  /** Nanoseconds since 1970. */
  readonly createdNs: bigint;
  readonly updatedNs: bigint;
  /** Of what the snapshot itself adds; known when it is committed. */
  readonly usage: Usage;
  /** The layer that was applied to it; null when its files are in its own directory. */
  readonly layer: AppliedLayer | null;
  /** Key in the store of the layer that its directory was converted to, when others needed it so. */
  readonly convertedKey: string | null;
  /** The mountable image of this snapshot and all below it, once it was made. */
  readonly chain: MergedChain | null;
}

/** A snapshot as it is written. */
export function formatSnapshot(snapshot: Snapshot): string {
  return JSON.stringify(snapshot, (_, value) => (typeof value === "bigint" ? value.toString() : value));
}

/** @throws Error (SyntaxError, TypeError) when the text is none of ours */
export function parseSnapshot(text: string): Snapshot {
  const found = JSON.parse(text) as Snapshot & { createdNs: string; updatedNs: string };
  if (typeof found.name !== "string" || !Number.isSafeInteger(found.id)) throw new TypeError("not a snapshot");
  return { ...found, createdNs: BigInt(found.createdNs), updatedNs: BigInt(found.updatedNs) };
}
