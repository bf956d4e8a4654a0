/** Paths inside a tree: cleaned by words, resolved through symlinks, never outside the root. */
import { type ByteString, escapeBytes, FormatError } from "../bytes/index.ts";
import { type Inode, S_IFLNK } from "./inode.ts";

/** Symlinks followed in one resolution before it is called a loop, as Linux does (MAXSYMLINKS is 40; peers take 255). */
const MAX_SYMLINKS = 255;

/**
 * The components of a path, as Go's `filepath.Clean("/" + path)` leaves them: empty ones and `.` dropped, `..` takes one
 * away and stops at the root. This is what containerd and umoci do to names in layers.
 */
export function cleanPath(path: ByteString): ByteString[] {
  const out: ByteString[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") out.pop();
    else out.push(part);
  }
  return out;
}

/** Called for a component that is missing or is a file: returns the directory to go on with, or null to give up. */
export type MakeDirectory = (parent: Inode, name: ByteString) => Inode | null;

/**
 * The directory at `parts`, symlinks on the way (and the last one) resolved inside `root`.
 *
 * @param make creates a directory where a component is missing or is a file, or says no.
 * @returns null when `make` says no.
 * @throws FormatError ERR_BAD_VALUE when more than 255 symlinks are met.
 */
export function resolveDirectory(root: Inode, parts: readonly ByteString[], make: MakeDirectory): Inode | null {
  // `trail` holds the directories from the root to where we are, so that `..` in a link target can go back.
  const trail: Inode[] = [root];
  const todo = [...parts].reverse();
  let links = 0;
  for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
    if (part === "" || part === ".") continue;
    if (part === "..") {
      if (trail.length > 1) trail.pop();
      continue;
    }
    const dir = trail[trail.length - 1] as Inode;
    const child = dir.children?.get(part);
    if (child?.children) {
      trail.push(child);
    } else if (child?.type === S_IFLNK) {
      if (++links > MAX_SYMLINKS)
        throw new FormatError(
          "ERR_BAD_VALUE",
          "path",
          0,
          `/${parts.map(escapeBytes).join("/")} meets over ${MAX_SYMLINKS} symlinks`,
        );
      if (child.target.startsWith("/")) trail.length = 1;
      todo.push(...child.target.split("/").reverse());
    } else {
      const made = make(dir, part);
      if (made === null) return null;
      trail.push(made);
    }
  }
  return trail[trail.length - 1] as Inode;
}

/** The inode at a cleaned path: symlinked parents are resolved, a symlink at the end is returned itself. */
export function lookup(root: Inode, parts: readonly ByteString[]): Inode | undefined {
  const name = parts[parts.length - 1];
  if (name === undefined) return root;
  return resolveDirectory(root, parts.slice(0, -1), () => null)?.children?.get(name);
}
