/**
 * What travels between a daemon and a converter process (`erofsify converter`), over Node's IPC channel in its
 * structured-clone form. Plain data; a converter answers every job with `done` or `failed`, in any order.
 *
 *     daemon                                   converter
 *       │  job {id, …}                            │
 *       ├────────────────────────────────────────►│
 *       │  pull {id}            (only for a layer │
 *       │◄────────────────────── without a path)  │
 *       │  data {id, bytes}                       │
 *       ├────────────────────────────────────────►│   … once for each pull; bytes null at the end
 *       │  done {id, result} or failed {id, …}    │
 *       │◄────────────────────────────────────────┤
 */
import type { LayerRecord, StoredFile } from "../store/index.ts";

/** What a job's result is held by, so that no prune takes it before the daemon has written it down. */
export interface JobHold {
  readonly key: string;
  readonly owner: string;
}

/** The uncompressed form of a layer: what containerd compares with the image's config. */
export interface TarIdentity {
  /** `sha256:…` of the tar. */
  readonly diffId: string;
  readonly tarBytes: number;
}

/** Converts a layer that is stored somewhere else, unless the store has it. */
export interface LayerJob {
  readonly kind: "layer";
  readonly store: string;
  /** `sha256:…` of the stored bytes, which are checked against it. */
  readonly digest: string;
  /** Of the stored bytes. */
  readonly size: number;
  readonly compression: "none" | "gzip" | "zstd" | "detect";
  /** The file with exactly these bytes; null when the daemon sends them. */
  readonly path: string | null;
  /** What the tar was found to be before: it need not be hashed again. */
  readonly known: TarIdentity | null;
  /** Most bytes of the layer's blob. */
  readonly maxBlobBytes: number | null;
  readonly hold: JobHold;
}

export interface LayerResult {
  /** Its key in the store. */
  readonly key: string;
  readonly record: LayerRecord;
  readonly tar: TarIdentity;
  /** Whether the store had it. */
  readonly cached: boolean;
}

/** Converts what a container changed (the upper directory of an overlay) into a layer. */
export interface DirectoryJob {
  readonly kind: "directory";
  readonly store: string;
  readonly path: string;
  readonly hold: JobHold;
}

export interface DirectoryResult {
  readonly key: string;
  readonly record: LayerRecord;
}

/** Merges layers into one meta; what is `known` from before is only checked. */
export interface MergeJob {
  readonly kind: "merge";
  readonly store: string;
  /** An image below all layers, whose blobs need not be in the store. */
  readonly below?: MergedChain | undefined;
  /** Keys of the layers, bottom first. */
  readonly layers: readonly string[];
  readonly known: MergedChain | null;
  /** Layers that go into the same hold. */
  readonly holdLayers: readonly string[];
  readonly hold: JobHold;
}

/** A mountable image: its meta, and its blobs in slot order. */
export interface MergedChain {
  readonly meta: StoredFile;
  readonly blobs: readonly StoredFile[];
}

/** Makes of each layer an image of its own, for overlayfs to put together. */
export interface StandaloneJob {
  readonly kind: "standalone";
  readonly store: string;
  /** An image below all layers. */
  readonly below?: MergedChain | undefined;
  /** Keys of the layers, bottom first. */
  readonly layers: readonly string[];
  readonly hold: JobHold;
}

/** Lays a merged image and its blobs, all in the store, into one file of the store. */
export interface FlatJob {
  readonly kind: "flat";
  readonly store: string;
  readonly chain: MergedChain;
  readonly known: StoredFile | null;
  readonly hold: JobHold;
}

/** Writes an OCI layer of what a container changed. */
export interface DiffJob {
  readonly kind: "diff";
  /** Upper directory of an overlay. */
  readonly upper: string;
  /** Path of the file to write; it must not be there. */
  readonly output: string;
  readonly compression: "none" | "gzip" | "zstd";
  /** No file is younger in the layer than this, in seconds since 1970 (SOURCE_DATE_EPOCH). */
  readonly latestSeconds: number | null;
}

export interface DiffResult extends TarIdentity {
  /** Of the file. */
  readonly digest: string;
  readonly size: number;
}

/** Removes from the store what nothing holds. */
export interface PruneJob {
  readonly kind: "prune";
  readonly store: string;
}

export interface PruneJobResult {
  readonly layers: number;
  readonly blobs: number;
  readonly freedBytes: number;
}

/** Jobs by kind, with what comes of them. */
export interface Jobs {
  readonly layer: [LayerJob, LayerResult];
  readonly directory: [DirectoryJob, DirectoryResult];
  readonly merge: [MergeJob, MergedChain];
  readonly flat: [FlatJob, StoredFile];
  /** Bottom first. */
  readonly standalone: [StandaloneJob, MergedChain[]];
  readonly diff: [DiffJob, DiffResult];
  readonly prune: [PruneJob, PruneJobResult];
}
export type JobKind = keyof Jobs;
export type Job = Jobs[JobKind][0];
export type JobResult<K extends JobKind> = Jobs[K][1];

export type ToConverter =
  | { readonly type: "job"; readonly id: number; readonly job: Job }
  | { readonly type: "data"; readonly id: number; readonly bytes: Uint8Array | null }
  | { readonly type: "abort"; readonly id: number };

export type FromConverter =
  | { readonly type: "ready" }
  | { readonly type: "pull"; readonly id: number }
  | { readonly type: "warning"; readonly message: string }
  | { readonly type: "done"; readonly id: number; readonly result: unknown }
  | { readonly type: "failed"; readonly id: number; readonly code: string; readonly message: string };

/** A layer of a merge is not in the store, or damaged there: convert it again. Its key is the message. */
export const ERR_LAYER_GONE = "ERR_LAYER_GONE";
