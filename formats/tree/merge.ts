/**
 * Layers put over each other: whiteouts and opaque directories take away what lies below, hard links into lower layers
 * become real ones, and a directory keeps the metadata of the topmost layer that names it.
 */
import { type ByteString, escapeBytes, FormatError } from "../bytes/index.ts";
import { type BlobRef, type Extent, HOLE, Inode, S_IFDIR, S_IFLNK, type Tree } from "./inode.ts";
import { isImplied, isOpaque, isWhiteout, lowerLinkTarget, removeMarks } from "./layer-marks.ts";
import { cleanPath, lookup, resolveDirectory } from "./path.ts";

/**
 * One tree of all layers, lowest first. Consumes its input: the layers' inodes are taken over, not copied. Cost grows
 * with the number of entries of all layers together; blobs that nothing refers to any more are left out of `blobs`.
 *
 * @throws FormatError ERR_BAD_VALUE when a layer's hard link names a file that no lower layer has.
 */
export function mergeLayers(layers: readonly Tree[]): Tree {
  const merger = new Merger();
  for (const layer of layers) merger.add(layer);
  return merger.finish();
}

class Merger {
  private readonly root = new Inode(S_IFDIR | 0o755);
  private readonly blobs: BlobRef[] = [];
  private readonly blobIndex = new Map<string, number>();

  add(layer: Tree): void {
    const openLinks = this.adoptInodes(layer);
    const symlinked: PathAndDirectory[] = [];
    mergeDirectory(this.root, { path: "", dir: layer.root }, symlinked);
    // Directories that the layer only implies, where a lower layer has a symlink: entries through a symlinked parent.
    for (let next = symlinked.pop(); next !== undefined; next = symlinked.pop()) {
      const target = resolveDirectory(this.root, cleanPath(next.path), newDirectory);
      if (target === null)
        throw new FormatError(
          "ERR_BAD_VALUE",
          "layer",
          0,
          `${escapeBytes(next.path)} leads through a symlink to a file, expected a directory`,
        );
      mergeDirectory(target, next, symlinked);
    }
    if (openLinks.size > 0) this.resolveOpenLinks(openLinks);
  }

  /**
   * Points the layer's extents at the merged blob table, and its lower links at the inodes below.
   *
   * @returns the lower links whose target is not below: it may be the layer's own, behind a symlink of a lower layer.
   */
  private adoptInodes(layer: Tree): Set<Inode> {
    const blobMap = layer.blobs.map((blob) => this.internBlob(blob));
    const blobsMoved = blobMap.some((to, from) => to !== from);
    const seen = new Set<Inode>();
    const openLinks = new Set<Inode>();
    for (const dir of directoriesOf(layer.root)) {
      for (const [name, child] of childrenOf(dir)) {
        const linkPath = lowerLinkTarget(child);
        if (linkPath !== undefined) {
          const target = lookup(this.root, cleanPath(linkPath));
          if (target === undefined || target.children !== null) openLinks.add(child);
          else childrenOf(dir).set(name, target);
        } else if (blobsMoved && child.extents.length > 0 && !seen.has(child)) {
          seen.add(child);
          child.extents = child.extents.map((extent) => moveExtent(extent, blobMap));
        }
      }
    }
    return openLinks;
  }

  private resolveOpenLinks(openLinks: ReadonlySet<Inode>): void {
    for (const dir of directoriesOf(this.root))
      for (const [name, child] of childrenOf(dir))
        if (openLinks.has(child))
          childrenOf(dir).set(name, this.linkedFile(name, lowerLinkTarget(child) as ByteString));
  }

  private internBlob(blob: BlobRef): number {
    let index = this.blobIndex.get(blob.digestHex);
    if (index === undefined) {
      index = this.blobs.length;
      this.blobIndex.set(blob.digestHex, index);
      this.blobs.push(blob);
    }
    return index;
  }

  private linkedFile(name: ByteString, path: ByteString): Inode {
    const file = lookup(this.root, cleanPath(path));
    if (file !== undefined && file.children === null && lowerLinkTarget(file) === undefined) return file;
    throw new FormatError(
      "ERR_BAD_VALUE",
      "hard link",
      0,
      `${escapeBytes(name)} links to ${escapeBytes(path)}, found ${file ? "no file" : "nothing"} there, expected a file of this or a lower layer`,
    );
  }

  /** The merged tree without marks, and without the blobs that only hidden files used. */
  finish(): Tree {
    const inodes = new Set<Inode>([this.root]);
    const used = new Set<number>();
    for (const dir of directoriesOf(this.root)) for (const child of childrenOf(dir).values()) inodes.add(child);
    for (const inode of inodes) {
      if (inode.xattrs.length > 0) inode.xattrs = removeMarks(inode.xattrs);
      for (const extent of inode.extents) used.add(extent.blob);
    }
    used.delete(HOLE);
    if (used.size === this.blobs.length) return { root: this.root, blobs: this.blobs };
    const kept = this.blobs.filter((_, index) => used.has(index));
    const blobMap = this.blobs.map((blob) => kept.indexOf(blob));
    for (const inode of inodes)
      if (inode.extents.length > 0) inode.extents = inode.extents.map((extent) => moveExtent(extent, blobMap));
    return { root: this.root, blobs: kept };
  }
}

interface PathAndDirectory {
  readonly path: ByteString;
  readonly dir: Inode;
}

/** Puts `layer` over `base`. Implied directories that meet a symlink are left to the caller, in `symlinked`. */
function mergeDirectory(base: Inode, layer: PathAndDirectory, symlinked: PathAndDirectory[]): void {
  const stack = [{ base, path: layer.path, dir: layer.dir }];
  for (let frame = stack.pop(); frame !== undefined; frame = stack.pop()) {
    const below = childrenOf(frame.base);
    if (!isImplied(frame.dir)) copyMetadata(frame.dir, frame.base);
    if (isOpaque(frame.dir)) below.clear();
    for (const [name, child] of childrenOf(frame.dir)) {
      if (child.children === null) {
        if (isWhiteout(child)) below.delete(name);
        else below.set(name, child);
        continue;
      }
      const lower = below.get(name);
      const path = `${frame.path}/${name}`;
      if (lower?.children) stack.push({ base: lower, path, dir: child });
      else if (lower?.type === S_IFLNK && isImplied(child)) symlinked.push({ path, dir: child });
      else {
        removeWhiteouts(child);
        below.set(name, child);
      }
    }
  }
}

function copyMetadata(from: Inode, to: Inode): void {
  to.mode = from.mode;
  to.uid = from.uid;
  to.gid = from.gid;
  to.mtimeSeconds = from.mtimeSeconds;
  to.mtimeNanos = from.mtimeNanos;
  to.xattrs = from.xattrs;
}

/** A layer's subtree with nothing below it: its whiteouts hide nothing. */
function removeWhiteouts(top: Inode): void {
  for (const dir of directoriesOf(top)) {
    const children = childrenOf(dir);
    for (const [name, child] of children) if (isWhiteout(child)) children.delete(name);
  }
}

/** The directories of a subtree, each before those inside it. */
function* directoriesOf(top: Inode): Generator<Inode> {
  const stack = [top];
  for (let dir = stack.pop(); dir !== undefined; dir = stack.pop()) {
    yield dir;
    for (const child of childrenOf(dir).values()) if (child.children !== null) stack.push(child);
  }
}

function moveExtent(extent: Extent, blobMap: readonly number[]): Extent {
  return extent.blob === HOLE ? extent : { ...extent, blob: blobMap[extent.blob] as number };
}

function newDirectory(parent: Inode, name: ByteString): Inode | null {
  if (parent.children?.has(name)) return null;
  const dir = new Inode(S_IFDIR | 0o755);
  parent.children?.set(name, dir);
  return dir;
}

function childrenOf(dir: Inode): Map<ByteString, Inode> {
  return dir.children as Map<ByteString, Inode>;
}
