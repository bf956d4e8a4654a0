import type { TarIdentity } from "../../blobd/conversion/index.ts";
import { sha256 } from "../../blobd/sys/index.ts";

/** Length and sha256 of a layer's uncompressed tar, found piece by piece on the thread pool while it is parsed. */
export class TarHash {
  readonly #hash = sha256();
  #bytes = 0;

  /** Resolves when the piece's memory is free again. */
  readonly observe = async (piece: Uint8Array): Promise<void> => {
    this.#bytes += piece.length;
    await this.#hash.updateAsync(piece);
  };

  /** What was observed; nothing more may be. */
  finish(): TarIdentity {
    return { diffId: `sha256:${this.#hash.digestHex()}`, tarBytes: this.#bytes };
  }

  free(): void {
    this.#hash.free();
  }
}
