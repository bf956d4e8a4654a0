import { VERITY_BLOCK, type VerityTail, verityTail } from "../../formats/verity/index.ts";
import { digestBlocks, digestBlocksSync, digestRoom } from "./verity-pool.ts";

/**
 * The lowest level of a blob's hash tree, filled segment by segment in any order. It stays in memory until the blob ends,
 * because the levels above come first on disk: 1 byte for 128 of the blob.
 */
export class VerityLeaves {
  /** By segment; whole blocks of the tree, which a segment's 512 digests fill. */
  readonly #pieces: Uint8Array[] = [];
  #closed = false;

  /** Whether all data are here, so that what is written now is the tree itself. */
  get closed(): boolean {
    return this.#closed;
  }

  /** @param bytes whole blocks; they must stay until it is done */
  add(index: number, bytes: Uint8Array): Promise<void> {
    return digestBlocks(bytes, this.#room(index, bytes));
  }

  addSync(index: number, bytes: Uint8Array): void {
    digestBlocksSync(bytes, this.#room(index, bytes));
  }

  /** The tree, when the digests of all `dataBlocks` blocks are there. */
  close(dataBlocks: number): VerityTail {
    this.#closed = true;
    return verityTail(this.#pieces, dataBlocks);
  }

  #room(index: number, bytes: Uint8Array): Uint8Array {
    const room = digestRoom(bytes.length / VERITY_BLOCK);
    this.#pieces[index] = room;
    return room;
  }
}
