import { Attr, AttrFlag, Dirent, direntBytes, EntryOut, InitFlag } from "../../../formats/fuse/index.ts";
import { type FuseRequest, OUT_ARGS } from "../request.ts";

/**
 * What a mount's file system has replied, with its node IDs told from those of others: a mount's number lies above bit 43.
 * Inode numbers are told apart where the kernel does not show the mount as a file system of its own.
 */

/** Bits of the number's place in the high word of a node ID. */
const TAG_SHIFT = 11;
/** Where in the high word of an inode number a mount's number is mixed in: above what file systems use. */
const INO_SHIFT = 22;

/** Whether the kernel shows mounts as file systems of their own. */
export function hasSubmounts({ session }: FuseRequest): boolean {
  return ((session?.flags ?? 0) & InitFlag.SUBMOUNTS) !== 0;
}

/** The EntryOut at `at`. @returns whether it names a node */
export function patchEntry(request: FuseRequest, at: number, mount: number): boolean {
  const { out } = request;
  const [low, high] = [out.getUint32(at, true), out.getUint32(at + 4, true)];
  if (low === 0 && high === 0) return false;
  if (high >= 1 << TAG_SHIFT) throw new Error(`node ID ${high}<<32 and more`);
  out.setUint32(at + 4, high | (mount << TAG_SHIFT), true);
  patchIno(request, at + EntryOut.at.attr + Attr.at.ino, mount);
  return true;
}

/** A mount's root, as an entry of a pseudo directory: it is a file system of its own. */
export function patchRootEntry(request: FuseRequest, mount: number): boolean {
  const { out } = request;
  if (!patchEntry(request, OUT_ARGS, mount)) return false;
  const at = OUT_ARGS + EntryOut.at.attr + Attr.at.flags;
  if (hasSubmounts(request)) out.setUint32(at, out.getUint32(at, true) | AttrFlag.SUBMOUNT, true);
  return true;
}

/** An inode number at `at`. */
export function patchIno(request: FuseRequest, at: number, mount: number): void {
  if (hasSubmounts(request)) return;
  const { out } = request;
  out.setUint32(at + 4, (out.getUint32(at + 4, true) ^ (mount << INO_SHIFT)) >>> 0, true);
}

/** All entries of a READDIR or READDIRPLUS. @returns how many nodes they name */
export function patchDirents(request: FuseRequest, plus: boolean, mount: number): number {
  const { out } = request;
  let nodes = 0;
  for (let at = OUT_ARGS; at < OUT_ARGS + request.outputBytes; ) {
    if (plus) {
      if (patchEntry(request, at, mount)) nodes++;
      at += EntryOut.size;
    }
    patchIno(request, at + Dirent.at.ino, mount);
    at += direntBytes(out.getUint32(at + Dirent.at.namelen, true));
  }
  return nodes;
}
