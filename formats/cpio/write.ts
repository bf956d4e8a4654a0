import { type ByteString, toBytes } from "../bytes/index.ts";
import { S_IFDIR, S_IFMT } from "../tree/index.ts";

/** One file of an archive. */
export interface CpioEntry {
  /** Path without a leading slash. A directory comes before what is in it. */
  readonly path: ByteString;
  /** Type and permissions, as in st_mode. */
  readonly mode: number;
  /** A regular file's content, or a symlink's target. */
  readonly data?: Uint8Array;
  /** Major and minor number of a device. */
  readonly device?: readonly [major: number, minor: number];
}

/** Longest file, in bytes: the size field has eight hex digits. */
export const MAX_CPIO_FILE_BYTES = 0xffff_ffff;

const MAGIC = "070701";
const TRAILER = "TRAILER!!!";
/** Header, name and data are each filled up to this, in bytes. */
const ALIGNMENT = 4;

/**
 * Writes a "newc" archive: owner 0:0, time 0, so that the same entries give the same bytes. Archives may follow one
 * another in one initramfs; the kernel unpacks them in turn. Linux Documentation/driver-api/early-userspace/buffer-format.rst.
 *
 * @throws RangeError for a path or a file that the form cannot hold.
 * @example writeCpio([{ path: "init", mode: S_IFREG | 0o755, data: program }])
 */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const [index, entry] of entries.entries()) addEntry(parts, entry, index + 1);
  addEntry(parts, { path: TRAILER, mode: 0 }, 0);
  return Buffer.concat(parts);
}

function addEntry(parts: Uint8Array[], entry: CpioEntry, ino: number): void {
  const { path, mode, data = new Uint8Array(0), device = [0, 0] } = entry;
  if (path === "" || path.startsWith("/") || path.includes("\0"))
    throw new RangeError(`cpio: found path ${JSON.stringify(path)}, expected one without leading slash and NUL`);
  if (data.length > MAX_CPIO_FILE_BYTES) throw new RangeError(`cpio: ${path} has ${data.length} bytes, over 4 GiB`);
  const links = (mode & S_IFMT) === S_IFDIR ? 2 : 1;
  const name = toBytes(`${path}\0`);
  // The order is the header's: ino, mode, uid, gid, nlink, mtime, filesize, dev, rdev, namesize, check.
  const fields = [ino, mode, 0, 0, links, 0, data.length, 0, 0, ...device, name.length, 0];
  const header = MAGIC + fields.map((value) => value.toString(16).padStart(8, "0")).join("");
  parts.push(Buffer.from(header, "latin1"), name, padding(header.length + name.length));
  parts.push(data, padding(data.length));
}

function padding(length: number): Uint8Array {
  return new Uint8Array(-length & (ALIGNMENT - 1));
}
