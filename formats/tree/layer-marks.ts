/**
 * What a layer's tree says about the layers below it. The marks are ordinary inodes and extended attributes, so a layer
 * image carries them on disk as they are here, and the kernel's overlayfs understands those that have a form of its own
 * (Documentation/filesystems/overlayfs.rst):
 *
 * | mark       | form                                                        | overlayfs |
 * |------------|-------------------------------------------------------------|-----------|
 * | whiteout   | character device 0/0                                        | yes       |
 * | opaque     | directory with trusted.overlay.opaque=y                     | yes       |
 * | lower link | regular file, trusted.overlay.metacopy (empty) and          | yes       |
 * |            | trusted.overlay.redirect=/path: hard link to a lower file   |           |
 * | implied    | directory with trusted.erofsify.implied=y: the layer names  | no        |
 * |            | something below it but not the directory itself             |           |
 */
import type { ByteString } from "../bytes/index.ts";
import { Inode, removeXattr, S_IFCHR, S_IFDIR, S_IFREG, setXattr, type Xattr, xattrValue } from "./inode.ts";

export const XATTR_OPAQUE = "trusted.overlay.opaque";
export const XATTR_METACOPY = "trusted.overlay.metacopy";
export const XATTR_REDIRECT = "trusted.overlay.redirect";
export const XATTR_IMPLIED = "trusted.erofsify.implied";

/** A whiteout: the name is removed from the layers below. */
export function newWhiteout(): Inode {
  return new Inode(S_IFCHR);
}

export function isWhiteout(inode: Inode): boolean {
  return inode.type === S_IFCHR && inode.rdevMajor === 0 && inode.rdevMinor === 0;
}

/** Whether the directory hides what the layers below have in it. */
export function isOpaque(dir: Inode): boolean {
  return xattrValue(dir, XATTR_OPAQUE) === "y";
}

/** Sets or clears the opaque mark. */
export function setOpaque(dir: Inode, opaque: boolean): void {
  if (opaque) setXattr(dir, XATTR_OPAQUE, "y");
  else removeXattr(dir, XATTR_OPAQUE);
}

/** A directory that a layer only implies: root:root 0755, time 0, until a lower layer tells more. */
export function newImpliedDirectory(): Inode {
  const dir = new Inode(S_IFDIR | 0o755);
  setXattr(dir, XATTR_IMPLIED, "y");
  return dir;
}

export function isImplied(dir: Inode): boolean {
  return dir.xattrs.length > 0 && xattrValue(dir, XATTR_IMPLIED) === "y";
}

/** A hard link to a file that only a lower layer has; `path` is absolute, without symlinks resolved. */
export function newLowerLink(path: ByteString): Inode {
  const file = new Inode(S_IFREG | 0o644);
  setXattr(file, XATTR_METACOPY, "");
  setXattr(file, XATTR_REDIRECT, path);
  return file;
}

/** The lower path that a hard link points to, or undefined for any other inode. */
export function lowerLinkTarget(inode: Inode): ByteString | undefined {
  if (inode.type !== S_IFREG || inode.xattrs.length < 2) return undefined;
  return xattrValue(inode, XATTR_METACOPY) === undefined ? undefined : xattrValue(inode, XATTR_REDIRECT);
}

const OVERLAY_PREFIX = "trusted.overlay.";
/** What overlayfs puts before an xattr of a nested overlayfs (Documentation/filesystems/overlayfs.rst, "Nesting"). */
const ESCAPED_PREFIX = "trusted.overlay.overlay.";

/** The xattrs of an archive's entry, those that would read as marks escaped as overlayfs does. */
export function escapeMarks(xattrs: readonly Xattr[]): readonly Xattr[] {
  if (!xattrs.some(({ name }) => name.startsWith(OVERLAY_PREFIX) || name === XATTR_IMPLIED)) return xattrs;
  return xattrs
    .filter(({ name }) => name !== XATTR_IMPLIED)
    .map(({ name, value }) =>
      name.startsWith(OVERLAY_PREFIX)
        ? { name: ESCAPED_PREFIX + name.slice(OVERLAY_PREFIX.length), value }
        : { name, value },
    )
    .sort(byName);
}

/** Undoes `escapeMarks` and drops marks: the xattrs of an inode that has no layer below it any more. */
export function removeMarks(xattrs: readonly Xattr[]): readonly Xattr[] {
  if (!xattrs.some(({ name }) => name.startsWith(OVERLAY_PREFIX) || name === XATTR_IMPLIED)) return xattrs;
  return xattrs
    .filter(
      ({ name }) => name.startsWith(ESCAPED_PREFIX) || !(name.startsWith(OVERLAY_PREFIX) || name === XATTR_IMPLIED),
    )
    .map(({ name, value }) =>
      name.startsWith(ESCAPED_PREFIX)
        ? { name: OVERLAY_PREFIX + name.slice(ESCAPED_PREFIX.length), value }
        : { name, value },
    )
    .sort(byName);
}

function byName(a: Xattr, b: Xattr): number {
  return a.name < b.name ? -1 : 1;
}
