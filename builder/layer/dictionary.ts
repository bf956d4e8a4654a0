import { closeSync, openSync, readSync } from "node:fs";
import type { Store, StoredFile } from "../../blobd/store/index.ts";
import { bytesSource } from "../../formats/bytes/index.ts";
import { openErofs } from "../../formats/erofs/index.ts";
import { BLOCK_SIZE, HOLE, type Inode, S_IFREG, type Tree } from "../../formats/tree/index.ts";
import { endsFingerprint, HUGE_PAGE, type KnownUnits, type ReadUnit, type UnitPlace } from "./units.ts";

/** An image of the store whose files are taken as known. Plain data. */
export interface DictionaryImage {
  readonly meta: StoredFile;
  readonly blobs: readonly StoredFile[];
}

/** How much is compared at once, in bytes. */
const COMPARE_BYTES = 256 << 10;

/**
 * The file data of other images, by unit, as candidates for what a layer brings. Lengths are known from their metadata; ends
 * are read when a unit of the same length turns up, whole units when the ends agree. An archive's files come in about the
 * order in which an older version's lie in their blobs, so that the kernel reads ahead.
 */
export class Dictionary implements KnownUnits {
  /** Each once, in the order of the images. */
  readonly blobs: readonly StoredFile[];
  readonly #fds: (number | undefined)[] = [];
  readonly #store: Store;
  readonly #byLength = new Map<number, Candidates>();
  readonly #buffer = Buffer.allocUnsafeSlow(COMPARE_BYTES);

  /**
   * Reads the images' metadata.
   * @throws StoreError, FormatError
   */
  constructor(store: Store, images: readonly DictionaryImage[]) {
    this.#store = store;
    const blobs = new Map<string, number>();
    const files: StoredFile[] = [];
    for (const image of images) {
      const tree = openErofs(bytesSource(store.readBlob(image.meta.digestHex))).toTree();
      const indexes = tree.blobs.map(({ digestHex }) => {
        const file = image.blobs.find((blob) => blob.digestHex === digestHex);
        if (file === undefined) return -1; // Data in the metadata themselves.
        const known = blobs.get(digestHex);
        if (known !== undefined) return known;
        blobs.set(digestHex, files.length);
        return files.push(file) - 1;
      });
      this.#addUnits(tree, indexes);
    }
    this.blobs = files;
  }

  /** Where the same bytes are. `read` gives the unit's, `length` of them from `offset` on. @throws StoreError */
  find(length: number, fingerprint: number, read: ReadUnit): UnitPlace | undefined {
    const candidates = this.#byLength.get(length);
    if (candidates === undefined) return undefined;
    candidates.fingerprints ??= this.#fingerprints(length, candidates.places);
    const place = candidates.fingerprints.get(fingerprint);
    return place !== undefined && this.#isSame(place, length, read) ? place : undefined;
  }

  /** Gives its descriptors back. */
  close(): void {
    for (const fd of this.#fds) if (fd !== undefined) closeSync(fd);
    this.#fds.length = 0;
  }

  #addUnits(tree: Tree, indexes: readonly number[]): void {
    for (const { size, extents } of filesOf(tree.root)) {
      let start = 0;
      for (const { blob, startBlock, blocks } of extents) {
        const end = start + blocks * BLOCK_SIZE;
        const index = blob === HOLE ? -1 : indexes[blob]!;
        // A unit that more than one extent holds is no candidate.
        if (index >= 0)
          for (let unit = Math.ceil(start / HUGE_PAGE) * HUGE_PAGE; unit < size && unit < end; unit += HUGE_PAGE) {
            const length = Math.min(HUGE_PAGE, size - unit);
            const position = startBlock * BLOCK_SIZE + unit - start;
            const isAligned = size < HUGE_PAGE || position % HUGE_PAGE === 0;
            if (unit + length <= end && isAligned) this.#add(length, { blob: index, position });
          }
        start = end;
      }
    }
  }

  #add(length: number, place: UnitPlace): void {
    const known = this.#byLength.get(length);
    if (known === undefined) this.#byLength.set(length, { places: [place], fingerprints: undefined });
    else known.places.push(place);
  }

  /** The first unit of each fingerprint. */
  #fingerprints(length: number, places: readonly UnitPlace[]): Map<number, UnitPlace> {
    const found = new Map<number, UnitPlace>();
    for (const place of places) {
      const fingerprint = endsFingerprint(length, (offset, bytes) => this.#read(place, offset, bytes));
      if (!found.has(fingerprint)) found.set(fingerprint, place);
    }
    return found;
  }

  #isSame(place: UnitPlace, length: number, read: ReadUnit): boolean {
    for (let done = 0; done < length; done += COMPARE_BYTES) {
      const bytes = Math.min(COMPARE_BYTES, length - done);
      if (Buffer.compare(this.#read(place, done, bytes), read(done, bytes)) !== 0) return false;
    }
    return true;
  }

  /** Bytes of a unit, until the next read. */
  #read({ blob, position }: UnitPlace, offset: number, length: number): Uint8Array {
    this.#fds[blob] ??= openSync(this.#store.blobPath(this.blobs[blob]!.digestHex), "r");
    const fd = this.#fds[blob];
    for (let done = 0; done < length; ) {
      const got = readSync(fd, this.#buffer, done, length - done, position + offset + done);
      if (got === 0) throw new Error(`blob ${this.blobs[blob]!.digestHex} ends before its metadata say`);
      done += got;
    }
    return this.#buffer.subarray(0, length);
  }
}

/** The regular files of a tree, each once, in the order of their directories. */
export function* filesOf(root: Inode): Generator<Inode> {
  const seen = new Set<Inode>();
  const stack = [root];
  for (let dir = stack.pop(); dir !== undefined; dir = stack.pop())
    for (const child of dir.children!.values()) {
      if (child.children !== null) stack.push(child);
      else if (child.type === S_IFREG && !seen.has(child)) {
        seen.add(child);
        yield child;
      }
    }
}

interface Candidates {
  readonly places: UnitPlace[];
  /** By the ends' fingerprint, when it was asked for. */
  fingerprints: Map<number, UnitPlace> | undefined;
}
