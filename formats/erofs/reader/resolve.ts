import { type ByteString, escapeBytes } from "../../bytes/index.ts";
import { S_IFLNK } from "../../tree/index.ts";
import { lookupEntry } from "./dirents.ts";
import type { Image } from "./image.ts";
import { decodeInode, ErofsInode } from "./inode.ts";
import { readSymlink } from "./symlink.ts";

/** Symlinks followed in one resolution, as in Linux (MAXSYMLINKS). */
const MAX_SYMLINKS = 40;

/** A path that leads nowhere in a sound image. */
export class PathError extends Error {
  override readonly name = "PathError";
  readonly code: "ENOENT" | "ENOTDIR" | "ELOOP";

  constructor(code: PathError["code"], path: ByteString, detail: string) {
    super(`${escapeBytes(path)}: ${detail}`);
    this.code = code;
  }
}

/**
 * The NID that `path` names. The image's root is the root of absolute symlinks and the parent of itself, so no path leads
 * out of it.
 *
 * @param followLast Whether a symlink as last component is followed.
 * @throws PathError when there is no such file; FormatError when the image is damaged on the way.
 */
export function resolvePath(image: Image, path: ByteString, followLast: boolean): number {
  const rootNid = image.superblock.rootNid;
  /** The directories from the root to where we are. */
  const way = [rootNid];
  let current = decodeInode(image, rootNid, new ErofsInode());
  /** Components still to go, the next one last. */
  const todo = components(path);
  const mustBeDirectory = path.endsWith("/");
  let followed = 0;
  while (todo.length > 0) {
    const name = todo.pop()!;
    if (!current.isDirectory)
      throw new PathError("ENOTDIR", path, `a component before ${escapeBytes(name)} is no directory`);
    if (name === ".") continue;
    if (name === "..") {
      if (way.length > 1) way.pop();
      current = decodeInode(image, way.at(-1)!, new ErofsInode());
      continue;
    }
    const entry = lookupEntry(image, current, name);
    if (entry === undefined) throw new PathError("ENOENT", path, `no ${escapeBytes(name)} there`);
    const inode = decodeInode(image, entry.nid, new ErofsInode());
    if (inode.type === S_IFLNK && (todo.length > 0 || followLast || mustBeDirectory)) {
      if (++followed > MAX_SYMLINKS)
        throw new PathError("ELOOP", path, `more than ${MAX_SYMLINKS} symlinks on the way`);
      const target = readSymlink(image, inode);
      if (target.startsWith("/")) way.length = 1;
      current = decodeInode(image, way.at(-1)!, new ErofsInode());
      for (const component of components(target)) todo.push(component);
      continue;
    }
    if (inode.isDirectory) way.push(inode.nid);
    current = inode;
  }
  if (mustBeDirectory && !current.isDirectory) throw new PathError("ENOTDIR", path, "no directory");
  return current.nid;
}

/** The components of a path, the first one last. */
function components(path: ByteString): ByteString[] {
  return path
    .split("/")
    .filter((name) => name !== "")
    .reverse();
}
