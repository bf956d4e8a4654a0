import { setTimeout as sleep } from "node:timers/promises";
import { closeExport, createExport, type ExportConfig, type ExportShared } from "../exports/index.ts";
import { checkMount, componentsOf, directoryId, type RootConfig, type RootMount } from "./config.ts";
import { MountTable, type TableMemory } from "./mount-table.ts";

/** How often it is looked whether a mount's last request is done, in ms. */
const LOOK_MS = 1;

/** The mounts of a pseudo root, for the main thread: they come and go while it is served. */
export class RootMounts {
  readonly memory: TableMemory;
  readonly #table: MountTable;
  readonly #mounts = new Map<string, { readonly number: number; readonly of: ExportShared }>();

  /** @throws as `add` */
  constructor({ mounts }: RootConfig) {
    this.memory = MountTable.create();
    this.#table = new MountTable(this.memory);
    try {
      for (const mount of mounts) this.add(mount);
    } catch (error) {
      for (const { of } of this.#mounts.values()) closeExport(of);
      MountTable.free(this.memory);
      throw error;
    }
  }

  /**
   * Adds one: the next request finds it.
   * @throws RangeError for a path that is taken, or above or below a mount, and for options that one mount cannot have; as the
   *   export does
   */
  add({ path, config }: RootMount): void {
    const parts = componentsOf(path);
    const name = `/${parts.join("/")}`;
    checkMount(config);
    for (const other of this.#mounts.keys())
      if (name === other || name.startsWith(`${other}/`) || other.startsWith(`${name}/`))
        throw new RangeError(`mount at ${name}: there is one at ${other}`);
    this.#refuseCollision(parts);
    const of = createExport(config);
    const number = this.#table.add({ path: name, of });
    if (number < 0) {
      closeExport(of);
      throw new RangeError(`mount at ${name}: there are as many as there can be`);
    }
    this.#mounts.set(name, { number, of });
  }

  /**
   * Takes one away: what is under way is done first, whoever has something open there gets ESTALE then. What a guest has mapped
   * stays mapped until it gives that up.
   * @throws RangeError when there is none
   */
  async remove(path: string): Promise<void> {
    const name = `/${componentsOf(path).join("/")}`;
    const mount = this.#mounts.get(name);
    if (mount === undefined) throw new RangeError(`mount at ${name}: there is none`);
    this.#mounts.delete(name);
    this.#table.retire(mount.number);
    while (this.#table.isUsed(mount.number)) await sleep(LOOK_MS);
    closeExport(mount.of);
    this.#table.free(mount.number);
  }

  list(): { readonly path: string; readonly config: ExportConfig }[] {
    return [...this.#mounts].map(([path, { of }]) => ({ path, config: of.config }));
  }

  /** Gives all back, when no thread uses it any more. */
  close(): void {
    for (const { of } of this.#mounts.values()) closeExport(of);
    this.#mounts.clear();
    MountTable.free(this.memory);
  }

  /** Two directories must not have one ID. */
  #refuseCollision(parts: readonly string[]): void {
    const paths = (components: readonly string[]) =>
      components.map((_, index) => `/${components.slice(0, index + 1).join("/")}`);
    const known = new Map<number, string>();
    for (const path of [...this.#mounts.keys()].flatMap((each) => paths(componentsOf(each))))
      known.set(directoryId(path), path);
    for (const path of paths(parts))
      if ((known.get(directoryId(path)) ?? path) !== path) throw new RangeError(`mount at ${path}: its ID is taken`);
  }
}
