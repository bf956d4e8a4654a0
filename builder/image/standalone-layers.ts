/**
 * Layers as containerd's own erofs snapshotter takes them: each a file system for itself, its data inside, put over the others
 * by overlayfs. Whiteouts and opaque directories are overlayfs's own already; what only our merge understands is made plain.
 */
import { FormatError } from "../../formats/bytes/index.ts";
import {
  cleanPath,
  type Inode,
  isImplied,
  isOpaque,
  isWhiteout,
  lowerLinkTarget,
  removeMarks,
  removeXattr,
  type Tree,
  XATTR_IMPLIED,
  XATTR_OPAQUE,
} from "../../formats/tree/index.ts";

/**
 * Changes the trees of an image's layers, lowest first, so that overlayfs puts them together as a merge does: a directory that
 * a layer only implies gets what the topmost layer below says of it, and the lowest layer hides nothing.
 * @throws FormatError ERR_UNSUPPORTED for a hard link into a lower layer, which no file system of its own can hold
 */
export function makeStandalone(trees: readonly Tree[]): void {
  // From the top, so that what a directory is filled from has not been filled itself.
  for (let layer = trees.length - 1; layer >= 0; layer--) {
    const stack: { dir: Inode; path: readonly string[] }[] = [{ dir: trees[layer]!.root, path: [] }];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { dir, path } = next;
      if (isImplied(dir)) fill(dir, path, trees.slice(0, layer));
      // The lowest has nothing to hide.
      if (layer === 0) removeXattr(dir, XATTR_OPAQUE);
      for (const [name, child] of dir.children!) {
        if (layer === 0 && isWhiteout(child)) dir.children!.delete(name);
        const target = lowerLinkTarget(child);
        if (target !== undefined) throw lowerLink([...path, name].join("/"), target);
        if (child.children !== null) stack.push({ dir: child, path: [...path, name] });
      }
    }
  }
}

function fill(dir: Inode, path: readonly string[], lower: readonly Tree[]): void {
  removeXattr(dir, XATTR_IMPLIED);
  const named = namedBelow(path, lower);
  if (named === undefined) return;
  dir.mode = named.mode;
  dir.uid = named.uid;
  dir.gid = named.gid;
  dir.mtimeSeconds = named.mtimeSeconds;
  dir.mtimeNanos = named.mtimeNanos;
  // What is opaque below hides what is below that; this layer hides nothing.
  dir.xattrs = [...dir.xattrs, ...removeMarks(named.xattrs)].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The directory as the topmost layer that names it has it, as far as it is seen from above. */
function namedBelow(path: readonly string[], lower: readonly Tree[]): Inode | undefined {
  for (const { root } of [...lower].reverse()) {
    let dir: Inode | undefined = root;
    let hidden = isOpaque(root);
    for (const name of path) {
      const child: Inode | undefined = dir?.children?.get(name);
      if (child !== undefined && (isWhiteout(child) || child.children === null)) return undefined;
      dir = child;
      if (dir === undefined) break;
      hidden ||= isOpaque(dir);
    }
    if (dir !== undefined && !isImplied(dir)) return dir;
    if (hidden) return undefined;
  }
  return undefined;
}

function lowerLink(path: string, target: string): FormatError {
  return new FormatError(
    "ERR_UNSUPPORTED",
    "hard link",
    0,
    `/${path} links to /${cleanPath(target).join("/")} of a layer below, which layers of their own cannot hold: push it without --format`,
  );
}
