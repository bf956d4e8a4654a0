/** NIDs of one page of the set: as many as 1 MiB of metadata can have. */
const PAGE_NIDS = 32 * 1024;

/** A set of NIDs: a bit each, in pages made when needed, so that it is small and fast wherever the inodes lie. */
export class NidSet {
  readonly #pages = new Map<number, Uint32Array>();
  #page: Uint32Array = new Uint32Array(0);
  #pageIndex = -1;

  /** Adds a NID; false when it was in the set already. */
  add(nid: number): boolean {
    const index = Math.floor(nid / PAGE_NIDS);
    if (index !== this.#pageIndex) this.#turnTo(index);
    const bit = nid - index * PAGE_NIDS;
    const word = this.#page[bit >>> 5]!;
    const mask = 1 << (bit & 31);
    if ((word & mask) !== 0) return false;
    this.#page[bit >>> 5] = word | mask;
    return true;
  }

  #turnTo(index: number): void {
    let page = this.#pages.get(index);
    if (page === undefined) {
      page = new Uint32Array(PAGE_NIDS / 32);
      this.#pages.set(index, page);
    }
    this.#page = page;
    this.#pageIndex = index;
  }
}
