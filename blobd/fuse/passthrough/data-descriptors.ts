import { O_RDONLY } from "./linux.ts";
import type { Volume } from "./volume.ts";

/** Files that a thread keeps open for reading. A power of two. */
const KEPT = 64;

/** Files that are read without having been opened (`noOpen`): a thread keeps the last ones open. */
export class DataDescriptors {
  readonly #volume: Volume;
  readonly #nodeIds = new Float64Array(KEPT);
  readonly #fds = new Int32Array(KEPT).fill(-1);

  constructor(volume: Volume) {
    this.#volume = volume;
  }

  /** @returns a descriptor of the pinned node, valid until the next call; a negative error number */
  of(slot: number, nodeId: number): number {
    const place = slot & (KEPT - 1);
    if (this.#nodeIds[place] === nodeId && this.#fds[place]! >= 0) return this.#fds[place]!;
    const fd = this.#volume.open(slot, O_RDONLY);
    if (fd < 0) return fd;
    this.#drop(place);
    this.#nodeIds[place] = nodeId;
    this.#fds[place] = fd;
    return fd;
  }

  #drop(place: number): void {
    if (this.#fds[place]! >= 0) this.#volume.calls.close(this.#fds[place]!);
    this.#fds[place] = -1;
  }

  closeAll(): void {
    for (let place = 0; place < KEPT; place++) this.#drop(place);
  }
}
