import type { DaxWindow } from "../dax-window.ts";
import type { MappingPieces } from "../mapping-pieces.ts";

/** The device's window as one of its mounts sees it: its nodes are told from those of others. */
export class TaggedWindow implements DaxWindow {
  readonly #window: DaxWindow;
  /** What is added to node IDs. */
  readonly #base: number;

  constructor(window: DaxWindow, base: number) {
    this.#window = window;
    this.#base = base;
  }

  get bytes(): number {
    return this.#window.bytes;
  }
  map(nodeId: number, fd: number, fileOffset: number, windowOffset: number): number {
    return this.#window.map(this.#base + nodeId, fd, fileOffset, windowOffset);
  }
  mapPieces(nodeId: number, pieces: MappingPieces, fileOffset: number, windowOffset: number): number {
    return this.#window.mapPieces(this.#base + nodeId, pieces, fileOffset, windowOffset);
  }
  remove(windowOffset: number, bytes: number): number {
    return this.#window.remove(windowOffset, bytes);
  }
  grow(nodeId: number, fileBytes: number): number {
    return this.#window.grow(this.#base + nodeId, fileBytes);
  }
  shrink(nodeId: number, fileBytes: number): number {
    return this.#window.shrink(this.#base + nodeId, fileBytes);
  }
  /** All is given up by the root, when the whole mount goes. */
  removeAll(): void {}
}
