import { existsSync } from "node:fs";
import type { Mount } from "./grpc/index.ts";

/** Labels by which containerd asks for mounts with other user and group ids (snapshots.LabelSnapshotUIDMapping). */
export const UID_MAPPING = "containerd.io/snapshot/uidmapping";
export const GID_MAPPING = "containerd.io/snapshot/gidmapping";
/**
 * Type of the mount that a snapshot gets while a layer is put into it: no file system, so that only our differ can do
 * that. Another one would unpack beside the layers below, which are not mounted yet.
 */
export const LAYER_MOUNT = "erofsify-layer";

/** Index support is switched off, as containerd does it: a container's layers are mounted by many. */
const indexOff = existsSync("/sys/module/overlay/parameters/index") ? ["index=off"] : [];

/** Where a snapshot's own files go. */
export interface UpperPaths {
  readonly upper: string;
  readonly work: string;
}

/** Options by which containerd maps ids; they are not the kernel's. */
export function idMapOptions(labels: Readonly<Record<string, string>>): string[] {
  const uids = labels[UID_MAPPING];
  const gids = labels[GID_MAPPING];
  return [...(uids ? [`uidmap=${uids}`] : []), ...(gids ? [`gidmap=${gids}`] : [])];
}

/** A mount to write to: an overlay, or without anything below just the directory. */
export function activeMount({ upper, work }: UpperPaths, lowers: readonly string[], idMap: readonly string[]): Mount {
  if (lowers.length === 0) return { type: "bind", source: upper, options: [...idMap, "rw", "rbind"] };
  const options = [...idMap, ...indexOff, `workdir=${work}`, `upperdir=${upper}`, `lowerdir=${lowers.join(":")}`];
  return { type: "overlay", source: "overlay", options };
}

/** A mount to read. */
export function viewMount(lowers: readonly string[], idMap: readonly string[]): Mount {
  if (lowers.length === 1) return { type: "bind", source: lowers[0]!, options: [...idMap, "ro", "rbind"] };
  return { type: "overlay", source: "overlay", options: [...idMap, ...indexOff, `lowerdir=${lowers.join(":")}`] };
}

/** What a differ gets to put a layer into. */
export function layerMount(upper: string): Mount {
  return { type: LAYER_MOUNT, source: upper, options: [] };
}

/** The parts of a mount of ours. */
export interface MountParts {
  readonly upper: string | null;
  readonly lowers: readonly string[];
}

/**
 * What mounts of a snapshot are made of, read back from their options; null for any that are not ours. Of layers that containerd's
 * mount manager puts together, their files stand for the lower directories.
 */
export function partsOf(mounts: readonly Mount[]): MountParts | null {
  const [mount, ...more] = mounts;
  if (mount === undefined) return { upper: null, lowers: [] };
  if (mount.type === "erofs") return partsOfLayers(mounts);
  if (more.length > 0) return null;
  if (mount.type === "bind")
    return mount.options.includes("ro") ? { upper: null, lowers: [mount.source] } : { upper: mount.source, lowers: [] };
  return mount.type === "overlay" ? partsOfOverlay(mount) : null;
}

function partsOfOverlay({ options }: Mount): MountParts {
  const option = (name: string) => options.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1) ?? null;
  return { upper: option("upperdir"), lowers: option("lowerdir")?.split(":") ?? [] };
}

function partsOfLayers(mounts: readonly Mount[]): MountParts | null {
  const layers = mounts.filter(({ type }) => type === "erofs").map(({ source }) => source);
  const [overlay, ...more] = mounts.slice(layers.length);
  if (overlay === undefined) return { upper: null, lowers: layers };
  if (overlay.type !== "format/overlay" || more.length > 0) return null;
  const { upper, lowers } = partsOfOverlay(overlay);
  return { upper, lowers: [...lowers.slice(0, -1), ...layers] };
}
