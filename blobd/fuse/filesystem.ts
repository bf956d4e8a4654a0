import type { FuseRequest } from "./request.ts";

/**
 * Carries out one operation: reads its arguments from the request, writes the reply into it.
 *
 * @returns 0 with the reply in place; a negative error number; PARKED when the reply comes later.
 * @throws FormatError for arguments out of their range (answered with EINVAL), SysError (answered with its number).
 */
export type Handler = (request: FuseRequest) => number;

/**
 * A file system as the server sees it: a handler for each operation that it has. An operation without one is answered
 * with ENOSYS, from which Linux learns not to ask again. Handlers know no transport.
 *
 * One object serves one thread. Threads that serve the same mount share their state through memory (see SharedTable).
 */
export interface FileSystem {
  /** What it wants of the kernel, beyond the server's own flags. Asked at each INIT, in whatever thread that comes. */
  init(offered: OfferedInit): WantedInit;
  /** The mount is gone: every node and file is forgotten. Also called before the INIT of a mount that follows another. */
  destroy(): void;

  lookup: Handler;
  /** No reply. */
  forget(nodeId: number, lookups: number): void;
  getattr?: Handler;
  statx?: Handler;
  setattr?: Handler;
  access?: Handler;
  readlink?: Handler;
  symlink?: Handler;
  mknod?: Handler;
  mkdir?: Handler;
  unlink?: Handler;
  rmdir?: Handler;
  /** RENAME and RENAME2: `flags` is 0 for the former. The new directory is the first argument of both. */
  rename?(request: FuseRequest, flags: number): number;
  link?: Handler;
  open?: Handler;
  create?: Handler;
  tmpfile?: Handler;
  read?: Handler;
  write?: Handler;
  flush?: Handler;
  release?: Handler;
  fsync?: Handler;
  fallocate?: Handler;
  lseek?: Handler;
  copyFileRange?: Handler;
  opendir?: Handler;
  /** READDIR and READDIRPLUS. */
  readdir?(request: FuseRequest, plus: boolean): number;
  releasedir?: Handler;
  fsyncdir?: Handler;
  statfs?: Handler;
  syncfs?: Handler;
  setxattr?: Handler;
  getxattr?: Handler;
  listxattr?: Handler;
  removexattr?: Handler;
  getlk?: Handler;
  /** SETLK, and SETLKW with `wait`. */
  setlk?(request: FuseRequest, wait: boolean): number;
  /**
   * The request with this `unique` need not be finished: if it is parked, in whatever thread, it is answered with EINTR.
   * With several threads this can come shortly before the other thread has parked it.
   */
  interrupt?(unique: bigint): void;
  /**
   * Looks after this thread's parked requests. The transport calls it when it is idle and when the time has come.
   * @returns in how many ms it wants to be called again; -1 when nothing is parked
   */
  resume?(): number;
  ioctl?: Handler;
  poll?: Handler;
  setupMapping?: Handler;
  removeMapping?: Handler;
  /**
   * Opens a node for reading and writing once more: for files that a process had mapped into the DAX window before it died.
   * @returns a descriptor of its own description, which is the caller's; or a negative error number
   */
  openMapped?(nodeId: number): number;
  /**
   * Reads what `DaxWindow.mapPieces` has mapped: `bytes` bytes of the node at `offset` to `address`, zeros behind its end.
   * @returns 0 or a negative error number
   */
  readMapped?(nodeId: number, offset: number, address: number, bytes: number): number;
}

/** What the kernel offers in INIT. */
export interface OfferedInit {
  readonly minor: number;
  readonly flags: number;
  readonly flags2: number;
  readonly maxReadahead: number;
}

/** What a file system asks for; the server grants what the kernel offers. */
export interface WantedInit {
  readonly flags: number;
  readonly flags2: number;
  /** How far the kernel may read ahead, in bytes; without it as far as the server takes. */
  readonly maxReadahead?: number;
}
