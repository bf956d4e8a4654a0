import { type ByteString, fromBytes, toBytes } from "../../formats/bytes/index.ts";
import type { Xattr } from "../../formats/tree/index.ts";
import { check, lastError } from "./errno.ts";
import { cString, libc, type Path } from "./libc.ts";

/** XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h, in bytes: no list and no value is longer. */
const XATTR_LIST_MAX = 65536;
const XATTR_SIZE_MAX = 65536;

let listScratch: Buffer | null = null;
let valueScratch: Buffer | null = null;

/**
 * The extended attributes of a file, sorted by name in byte order; links are not followed. Empty where the file system
 * has none. The kernel shows `trusted.*` to CAP_SYS_ADMIN only.
 * @throws SysError when the file cannot be read.
 */
export function listXattrs(path: Path): Xattr[] {
  listScratch ??= Buffer.allocUnsafeSlow(XATTR_LIST_MAX);
  valueScratch ??= Buffer.allocUnsafeSlow(XATTR_SIZE_MAX);
  const file = cString(path, "llistxattr");
  const length = libc().llistxattr(file, listScratch, listScratch.length);
  if (length < 0) {
    const error = lastError("llistxattr", file);
    if (error.code === "ENOTSUP") return [];
    throw error;
  }
  const xattrs: Xattr[] = [];
  for (let start = 0; start < length; ) {
    const end = listScratch.indexOf(0, start);
    const size = libc().lgetxattr(file, listScratch.subarray(start, end + 1), valueScratch, valueScratch.length);
    if (size >= 0) xattrs.push({ name: fromBytes(listScratch, start, end), value: fromBytes(valueScratch, 0, size) });
    else {
      const error = lastError("lgetxattr", file);
      // Removed between the two calls, or a name that a security module lists for others than us.
      if (error.code !== "ENODATA") throw error;
    }
    start = end + 1;
  }
  return xattrs.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/**
 * Sets one extended attribute; links are not followed.
 * @throws SysError when the kernel refuses.
 */
export function setXattr(path: Path, name: ByteString, value: ByteString): void {
  const file = cString(path, "lsetxattr");
  const bytes = toBytes(value);
  check(libc().lsetxattr(file, cString(toBytes(name), "lsetxattr"), bytes, bytes.length, 0), "lsetxattr", file);
}
