import { FileKind } from "./files.ts";
import { AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW, S_IFMT, S_IFREG, STATX_MASK } from "./linux.ts";
import type { Volume } from "./volume.ts";

/** What the outside does for files that a process to come could not open again. */
export interface PassthroughHooks {
  /**
   * An open file is about to lose its last name, or never had one. Whoever keeps a copy of its descriptor can give it to
   * the next process (`Inheritance.files`). Called in the thread that serves the request, before the name goes.
   */
  hold(fh: number, fd: number): void;
  /** A file that was held is closed: its copy may go. Called in whatever thread that happens. */
  release(fh: number): void;
}

/**
 * Has open files of this name held if it is their last one.
 * @param dir a descriptor of the directory
 * @param name address of a C string
 */
export function holdNamed(volume: Volume, parent: number, dir: number, name: number): void {
  const { hooks, files, nodes, stat, calls, devices } = volume;
  if (hooks === undefined || files.count === 0) return;
  const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  if (calls.statx(dir, name, flags, STATX_MASK, stat.address) < 0) return;
  if ((stat.mode & S_IFMT) !== S_IFREG || stat.nlink > 1) return;
  const device = devices.find(nodes.deviceOf(parent));
  if (device < 0) return;
  const { inoLow, inoHigh } = stat;
  files.forEach(FileKind.FILE, (file) => {
    const slot = nodes.pin(files.nodeOf(file));
    if (slot === 0) return;
    if (nodes.isInode(slot, device, inoLow, inoHigh)) holdFile(volume, file);
    nodes.unpin(slot);
  });
}

/** Has a pinned open file held. */
export function holdFile({ hooks, files }: Volume, file: number): void {
  if (hooks !== undefined && files.markHeld(file)) hooks.hold(files.idOf(file), files.fdOf(file));
}
