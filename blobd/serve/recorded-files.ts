import { randomBytes } from "node:crypto";
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { join } from "node:path";
import type { Digest } from "../../formats/oci/index.ts";
import { type BlobTable, NAME_BYTES } from "../fuse/blobs/index.ts";
import { type SharedBlob, StoreError } from "../store/index.ts";
import { allocAligned } from "../sys/index.ts";
import { type Recording, recordedBlob } from "./recording.ts";

/** A blob whose reads are to be recorded. */
export interface Recorded {
  readonly digest: Digest;
  readonly shared: SharedBlob;
  readonly recordings: readonly Recording[];
  /** Called when nobody can read it any more. */
  readonly close: () => void;
}

interface Shown {
  readonly index: number;
  readonly close: () => void;
  isReleased: boolean;
}

/**
 * Blobs that are shown once more, each to one client, so that its reads can be recorded: under a name of their own, because
 * what the kernel has cached of a file it does not ask for again. Complete blobs too, which clients else have by their path.
 */
export class RecordedFiles {
  readonly #table: BlobTable;
  readonly #folder: string;
  readonly #shown = new Set<Shown>();

  /** @param folder where the table's blobs are files */
  constructor(table: BlobTable, folder: string) {
    this.#table = table;
    this.#folder = folder;
  }

  /** @throws StoreError when there is no room */
  show({ digest, shared, recordings, close }: Recorded): { path: string; index: number; release: () => void } {
    const name = randomBytes(NAME_BYTES / 2).toString("hex");
    const recorded = recordedBlob(digest, shared.size);
    const index = this.#table.add(name, shared, recorded.turnsAddress);
    const path = join(this.#folder, name);
    if (index < 0) throw new StoreError("ERR_STORE_LIMIT", path, "too many blobs are served at a time");
    for (const recording of recordings) recording.add(recorded);
    // The threads that write to its memory hold no reference of it.
    const closeAll = () => {
      void recorded.turns;
      close();
    };
    const shown = { index, close: closeAll, isReleased: false };
    this.#shown.add(shown);
    const release = () => {
      shown.isReleased = true;
    };
    return { path, index, release };
  }

  /** A blob that an earlier service has shown and is complete by now: it is shown until nobody has it open. */
  takeOver(index: number, close: () => void): void {
    this.#shown.add({ index, close, isReleased: true });
  }

  /** Closes what has been released and nobody has open. @returns the places in the table that are free now */
  sweep(): number[] {
    const gone: number[] = [];
    for (const shown of this.#shown) {
      if (!shown.isReleased || !this.#table.remove(shown.index)) continue;
      this.#shown.delete(shown);
      shown.close();
      gone.push(shown.index);
    }
    return gone;
  }

  get count(): number {
    return this.#shown.size;
  }
}

/** A complete file as the mount's threads read a blob: all there, in one chunk. */
export function sharedFile(path: string): { shared: SharedBlob; close: () => void } {
  const fd = openSync(path, constants.O_RDONLY);
  let directFd = -1;
  try {
    directFd = openSync(path, constants.O_RDONLY | constants.O_DIRECT);
  } catch {} // Read through the page cache then.
  const { size } = fstatSync(fd);
  const offsets = allocAligned(16);
  offsets.bytes.writeDoubleLE(0, 0);
  offsets.bytes.writeDoubleLE(size, 8);
  const states = allocAligned(1);
  states.bytes[0] = 1;
  const shared = {
    size,
    chunks: 1,
    fd,
    directFd,
    statesAddress: states.address,
    offsetsAddress: offsets.address,
  };
  const close = () => {
    // Held until here, for the threads that have their addresses.
    void [offsets, states];
    closeSync(fd);
    if (directFd >= 0) closeSync(directFd);
  };
  return { shared, close };
}
