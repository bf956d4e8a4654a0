import type { DaxWindow } from "../dax-window.ts";
import { createExport, type ExportConfig, type ExportShared, openExport } from "../exports/index.ts";
import type { FileSystem } from "../filesystem.ts";
import type { Inheritance, PassthroughHooks } from "../passthrough/index.ts";
import type { RootConfig } from "./config.ts";
import type { TableMemory } from "./mount-table.ts";
import { RootMounts } from "./mounts.ts";
import { openRoot } from "./root.ts";

/** What a device or a mount serves: one export, or several under a pseudo root. */
export type ServedConfig = ExportConfig | RootConfig;

/** What threads share, as a plain description: it means something in one process only. */
export type ServedShared = ExportShared | { readonly kind: "root"; readonly memory: TableMemory };

export interface Served {
  readonly shared: ServedShared;
  /** Of a pseudo root: to add and remove mounts. */
  readonly mounts: RootMounts | null;
}

/** @throws as the file systems do */
export function createServed(config: ServedConfig, inherited?: Inheritance): Served {
  if (!("kind" in config) || config.kind !== "root") return { shared: createExport(config, inherited), mounts: null };
  const mounts = new RootMounts(config);
  return { shared: { kind: "root", memory: mounts.memory }, mounts };
}

/** Opens it in one thread. @param hooks for a single directory that another process may take over */
export function openServed(shared: ServedShared, window?: DaxWindow, hooks?: PassthroughHooks): FileSystem {
  return shared.kind === "root" ? openRoot(shared.memory, window) : openExport(shared, window, hooks);
}
