import { createHash } from "node:crypto";
import type { ExportConfig } from "../exports/index.ts";

/** Several exports under one pseudo root, each at a path of its own. A plain description. */
export interface RootConfig {
  readonly kind: "root";
  /** Those that are there from the start. */
  readonly mounts: readonly RootMount[];
}

export interface RootMount {
  /** Absolute, such as `/rafs/ID/lowerdir`; none is above or below another one. */
  readonly path: string;
  readonly config: ExportConfig;
}

/** Most components of a path, and bytes of one. */
const MAX_DEPTH = 16;
const NAME_BYTES = 255;

/** A path's components. @throws RangeError for what is no path of a mount */
export function componentsOf(path: string): string[] {
  const parts = path.split("/").slice(1);
  if (parts.at(-1) === "") parts.pop();
  const isPath =
    path.startsWith("/") &&
    parts.length >= 1 &&
    parts.length <= MAX_DEPTH &&
    parts.every((part) => part !== "" && part !== "." && part !== ".." && Buffer.byteLength(part) <= NAME_BYTES);
  if (!isPath || path.includes("\0"))
    throw new RangeError(`mount at ${JSON.stringify(path)}: expected /a/path without . and ..`);
  return parts;
}

/**
 * Refuses what holds for a whole FUSE connection, and so cannot be one mount's: who caches what, whose locks hold, who is
 * asked again for requests that wait.
 * @throws RangeError
 */
export function checkMount(config: ExportConfig): void {
  if ("kind" in config) {
    if (config.kind === "image" && config.lazyStore !== undefined)
      throw new RangeError("lazyStore cannot be had for one of several mounts");
    return;
  }
  for (const option of ["writeback", "posixLocks", "flock", "posixAcl", "noOpen"] as const)
    if (config[option]) throw new RangeError(`${option} cannot be had for one of several mounts`);
  if ((config.sandbox ?? "none") !== "none") throw new RangeError("sandbox cannot be had for one of several mounts");
}

/** Node IDs of pseudo directories: the same in every thread, and for a path that comes back. */
export function directoryId(path: string): number {
  return 2 + createHash("sha256").update(path).digest().readUIntBE(0, 5);
}
