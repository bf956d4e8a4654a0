import type { MergedChain, TarIdentity } from "../../conversion/index.ts";
import type { Endpoint } from "../../registry/index.ts";
import type { StoredFile } from "../../store/index.ts";

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

/** A layer that nobody pulled: its image has a converted form, whose blobs are served on demand. */
export interface RemoteLayer {
  /** The layer itself, as the image has it: for whoever needs this layer without those above it. */
  readonly digest: string;
  readonly size: number;
  readonly compression: AppliedLayer["compression"];
  readonly repository: string;
  readonly endpoints: readonly Endpoint[];
  /** Of the image's last layer: what `blobd serve` is asked, for the converted form of this layer and all below it. */
  readonly request: string | null;
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
  readonly remote: RemoteLayer | null;
  /** Key in the store of the layer that its directory was converted to, when others needed it so. */
  readonly convertedKey: string | null;
  /** The mountable image of this snapshot and all below it, once it was made. */
  readonly chain: MergedChain | null;
  /** Device number of the mount that showed the blobs of `chain` when it was mounted; null: they were all in the store. */
  readonly servedBy: number | null;
  /** `chain` and its blobs in one file, once something wanted it so. */
  readonly flat: StoredFile | null;
}

/** Whether the snapshot is a layer of an image, and has no directory with its files. */
export function isImageLayer({ layer, remote }: Pick<Snapshot, "layer" | "remote">): boolean {
  return layer !== null || remote !== null;
}

/** A snapshot as it is written. */
export function formatSnapshot(snapshot: Snapshot): string {
  return JSON.stringify(snapshot, (_, value) => (typeof value === "bigint" ? value.toString() : value));
}

type Later = "remote" | "servedBy" | "flat";

/** As it is written. The first version lacked some fields. */
type Stored = Omit<Snapshot, "createdNs" | "updatedNs" | Later> &
  Partial<Pick<Snapshot, Later>> & { readonly createdNs: string; readonly updatedNs: string };

/** @throws Error (SyntaxError, TypeError) when the text is none of ours */
export function parseSnapshot(text: string): Snapshot {
  const found = JSON.parse(text) as Stored;
  if (typeof found.name !== "string" || !Number.isSafeInteger(found.id)) throw new TypeError("not a snapshot");
  const { remote = null, servedBy = null, flat = null } = found;
  const times = { createdNs: BigInt(found.createdNs), updatedNs: BigInt(found.updatedNs) };
  return { ...found, remote, servedBy, flat, ...times };
}
