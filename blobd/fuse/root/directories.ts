import { ROOT_ID } from "../../../formats/fuse/index.ts";
import { componentsOf, directoryId } from "./config.ts";
import { MOUNTS, type MountTable } from "./mount-table.ts";

/** What a pseudo directory holds: another one, or a mount's root. */
export interface PseudoEntry {
  readonly name: Buffer;
  /** Of the pseudo directory; of a mount, ROOT_ID. */
  readonly id: number;
  /** 0 for a pseudo directory. */
  readonly mount: number;
}
export interface PseudoDirectory {
  readonly parent: number;
  readonly entries: readonly PseudoEntry[];
  /** By name, as latin1 text of its bytes. */
  readonly byName: ReadonlyMap<string, PseudoEntry>;
}

/** The directories that lead to mounts, as one thread knows them: made anew when mounts have come or gone. */
export class Directories {
  readonly #table: MountTable;
  #version = -1;
  #byId = new Map<number, PseudoDirectory>();

  constructor(table: MountTable) {
    this.#table = table;
  }

  get(id: number): PseudoDirectory | undefined {
    const { version } = this.#table;
    if (version !== this.#version) {
      this.#byId = readDirectories(this.#table);
      this.#version = version;
    }
    return this.#byId.get(id);
  }
}

interface Building {
  readonly parent: number;
  readonly byName: Map<string, PseudoEntry>;
}

function readDirectories(table: MountTable): Map<number, PseudoDirectory> {
  const directories = new Map<number, Building>([[ROOT_ID, { parent: ROOT_ID, byName: new Map() }]]);
  for (let mount = 1; mount < MOUNTS; mount++) {
    const text = table.isLive(mount) ? table.text(mount) : null;
    if (text === null) continue;
    const parts = componentsOf(text.path);
    let parent = ROOT_ID;
    for (const [index, part] of parts.entries()) {
      const name = Buffer.from(part);
      const key = name.toString("latin1");
      const isLast = index === parts.length - 1;
      const id = isLast ? ROOT_ID : directoryId(`/${parts.slice(0, index + 1).join("/")}`);
      directories.get(parent)!.byName.set(key, { name, id, mount: isLast ? mount : 0 });
      if (isLast) break;
      if (!directories.has(id)) directories.set(id, { parent, byName: new Map() });
      parent = id;
    }
  }
  return new Map(
    [...directories].map(([id, { parent, byName }]) => [id, { parent, byName, entries: [...byName.values()] }]),
  );
}
