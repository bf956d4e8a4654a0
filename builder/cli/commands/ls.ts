import { type ByteString, escapeBytes, fromText } from "../../../formats/bytes/index.ts";
import type { ErofsInode, ErofsReader } from "../../../formats/erofs/index.ts";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, typeLetter } from "../../../formats/tree/index.ts";
import { table, writeLines } from "../ui/output.ts";
import { type ImageOptions, withImage } from "./open.ts";

interface LsOptions extends ImageOptions {
  readonly long?: boolean;
  readonly recursive?: boolean;
}

export async function run(target: string, path: string, options: LsOptions): Promise<void> {
  await withImage(target, options, ({ reader }) => writeLines(listing(reader, fromText(path), options)));
}

function* listing(reader: ErofsReader, path: ByteString, options: LsOptions): Generator<string> {
  const top = reader.inode(reader.resolve(path));
  if (top.type !== S_IFDIR) {
    yield* show(reader, [[path, top]], options);
    return;
  }
  const stack: [ByteString, ErofsInode][] = [[path.replace(/\/+$/, ""), top]];
  let first = true;
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const [here, dir] = next;
    if (options.recursive) yield `${first ? "" : "\n"}${escapeBytes(here) || "/"}:`;
    first = false;
    const entries: [ByteString, ErofsInode][] = [];
    for (const { name, nid } of reader.readdir(dir))
      if (name !== "." && name !== "..") entries.push([name, reader.inode(nid)]);
    yield* show(reader, entries, options);
    if (options.recursive)
      for (const [name, inode] of entries.reverse()) if (inode.type === S_IFDIR) stack.push([`${here}/${name}`, inode]);
  }
}

function* show(
  reader: ErofsReader,
  entries: readonly [ByteString, ErofsInode][],
  options: LsOptions,
): Generator<string> {
  if (!options.long) {
    for (const [name] of entries) yield escapeBytes(name);
    return;
  }
  yield* table(
    entries.map(([name, inode]) => [
      modeText(inode.mode),
      String(inode.nlink),
      String(inode.uid),
      String(inode.gid),
      sizeOrDevice(inode),
      new Date(inode.mtimeSeconds * 1000).toISOString().replace(".000Z", "Z"),
      inode.type === S_IFLNK ? `${escapeBytes(name)} -> ${escapeBytes(reader.readlink(inode))}` : escapeBytes(name),
    ]),
  );
}

function sizeOrDevice(inode: ErofsInode): string {
  return inode.type === S_IFCHR || inode.type === S_IFBLK
    ? `${inode.rdevMajor}:${inode.rdevMinor}`
    : String(inode.size);
}

/** Mode as ls(1) shows it: `drwxr-sr-x`. */
function modeText(mode: number): string {
  const letters = [0o400, 0o200, 0o100, 0o040, 0o020, 0o010, 0o004, 0o002, 0o001].map((bit, i) =>
    mode & bit ? "rwx"[i % 3] : "-",
  );
  const special = (bit: number, at: number, letter: string) => {
    if (mode & bit) letters[at] = letters[at] === "x" ? letter : letter.toUpperCase();
  };
  special(0o4000, 2, "s");
  special(0o2000, 5, "s");
  special(0o1000, 8, "t");
  return typeLetter(mode) + letters.join("");
}
