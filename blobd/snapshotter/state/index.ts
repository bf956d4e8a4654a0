/** What the snapshotter knows, and keeps through kills and restarts. */
export { type AppliedLayer, isImageLayer, type Kind, type RemoteLayer, type Snapshot, type Usage } from "./snapshot.ts";
export { type Change, MAX_NAME_BYTES, SnapshotTable } from "./table.ts";
