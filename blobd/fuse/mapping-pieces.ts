/** Pieces of a range at most: each is a mapping of the VMM's, of which there may be some hundred in all. */
export const MAX_PIECES = 16;

/**
 * What a range of the DAX window is made of, in order and without gaps from its start: pages of files. Made once and filled
 * anew for each request.
 */
export class MappingPieces {
  count = 0;
  /** Pages of all pieces. */
  pages = 0;
  /** By piece: a descriptor that can write, and where in its file the piece starts, in bytes. */
  readonly fd = new Int32Array(MAX_PIECES);
  readonly fileOffset = new Float64Array(MAX_PIECES);
  /** By piece: its first page in the range, and the one behind its last. */
  readonly from = new Uint16Array(MAX_PIECES);
  readonly to = new Uint16Array(MAX_PIECES);

  clear(): void {
    this.count = 0;
    this.pages = 0;
  }

  /** Appends a piece. @returns false when there is no room for one more */
  add(fd: number, fileOffset: number, pages: number): boolean {
    const { count } = this;
    if (count === MAX_PIECES) return false;
    this.fd[count] = fd;
    this.fileOffset[count] = fileOffset;
    this.from[count] = this.pages;
    this.pages += pages;
    this.to[count] = this.pages;
    this.count++;
    return true;
  }
}
