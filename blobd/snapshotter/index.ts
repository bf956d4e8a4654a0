/**
 * A snapshotter and differ for containerd: plain OCI images are converted to EROFS while they are unpacked, and
 * containers get one mount for all layers.
 *
 *     containerd ──Snapshots──► snapshots-service ──► Snapshots ──► ChainMounts ──► kernel: erofs, overlay
 *         │                                              │              │ merge
 *         ├──────Diff────────► diff-service ──► Applier, Comparer ──► ConverterPool ──► erofsify converter
 *         │◄──Content─────────────────────────────┘ └─► LookAhead            └─► the store: blobs, metas, holds
 *
 * docs/containerd.md tells how it is used and why it is so.
 */
export { type RunningSnapshotter, type SnapshotterOptions, startSnapshotter } from "./start.ts";
export { VM_FORMS, type VmForm } from "./vm-mounts.ts";
