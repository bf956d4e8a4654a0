import type { MappingPieces } from "./mapping-pieces.ts";

/** Linux maps files into the window in ranges of this many bytes, aligned to it in both. FUSE_DAX_SZ, fs/fuse/dax.c. */
export const RANGE_BYTES = 2 << 20;

/**
 * The window of guest memory into which a file system maps files (virtio 1.2, 5.11.5). The guest chooses where; a range of
 * the window holds a range of one file.
 *
 * Results are 0 or a negative error number (-EINTR: the request is taken up again later by itself). All threads of a device share the window.
 */
export interface DaxWindow {
  /** Size of the window, a multiple of RANGE_BYTES. */
  readonly bytes: number;
  /**
   * Maps the file's range at `fileOffset` to the window's at `windowOffset`, as far as the file reaches: its size is read
   * here, at a moment from which on no `grow` is missed. The descriptor is the window's from then on, whatever the result;
   * it is open for reading and writing, and its own description. A range that is mapped like that already is left alone.
   * @param nodeId names the file in the other calls
   */
  map(nodeId: number, fd: number, fileOffset: number, windowOffset: number): number;
  /**
   * Maps a range that lies in several files, or in several places of one: an image's. The file never changes its size. The
   * descriptors stay the caller's: the VMM has mapped them when this returns. A range that is mapped like that already is
   * left alone.
   */
  mapPieces(nodeId: number, pieces: MappingPieces, fileOffset: number, windowOffset: number): number;
  /** Gives up the ranges in `bytes` of the window at `windowOffset`. */
  remove(windowOffset: number, bytes: number): number;
  /**
   * The file has grown to `fileBytes`: its mapped ranges are extended to where it reaches now. To be called before the
   * guest is told the new size, for it may look there at once.
   */
  grow(nodeId: number, fileBytes: number): number;
  /**
   * The file is about to be cut to `fileBytes`: nothing behind is mapped any longer when this returns, so that the VMM
   * does not meet a page without a file. When the file is not cut after all, `grow` to its size takes it back.
   */
  shrink(nodeId: number, fileBytes: number): number;
  /** Gives up all that is mapped. */
  removeAll(): void;
}
