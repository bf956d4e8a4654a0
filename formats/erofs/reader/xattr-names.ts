import { type ByteString, FormatError, fromBytes } from "../../bytes/index.ts";
import { XATTR_PREFIXES } from "../format.ts";
import type { Pages } from "./pages.ts";
import type { Superblock } from "./superblock.ts";

/** nameIndex with this bit: the other bits are an index into the image's own prefixes. */
const XATTR_LONG_PREFIX = 0x80;
const XATTR_LONG_PREFIX_MASK = 0x7f;
/** compat: the long prefixes lie in the image itself, not in the packed inode. */
const FEATURE_COMPAT_PLAIN_XATTR_PFX = 0x10;
/** A prefix record: u16 length, u8 base index, infix of at most 255 bytes; aligned to 4. */
const PREFIX_MAX_BYTES = 1 + 255;

const BY_INDEX: { readonly prefix: ByteString; readonly whole: boolean }[] = [];
for (const entry of XATTR_PREFIXES) BY_INDEX[entry.index] = entry;

/** The image's long name prefixes, expanded to full text. @throws FormatError */
export function readXattrPrefixes(pages: Pages, superblock: Superblock): ByteString[] {
  if (superblock.xattrPrefixCount === 0) return [];
  const start = superblock.xattrPrefixStart * 4;
  if (superblock.packedNid !== 0 && (superblock.featureCompat & FEATURE_COMPAT_PLAIN_XATTR_PFX) === 0)
    throw new FormatError("ERR_UNSUPPORTED", "xattr prefixes", start, "long xattr prefixes in the packed inode");
  const prefixes: ByteString[] = [];
  let at = start;
  for (let i = 0; i < superblock.xattrPrefixCount; i++) {
    const page = pages.at(at, 2);
    const length = page.dv.getUint16(at - page.start, true);
    if (length < 1 || length > PREFIX_MAX_BYTES)
      throw new FormatError("ERR_BAD_VALUE", "xattr prefix length", at, `found ${length}, expected 1 to 256`);
    const record = pages.bytes(at + 2, length);
    prefixes.push(basePrefix(record[0]!, at + 2) + fromBytes(record, 1));
    at = Math.ceil((at + 2 + length) / 4) * 4;
  }
  return prefixes;
}

function basePrefix(index: number, offset: number): ByteString {
  const entry = BY_INDEX[index];
  if (entry === undefined)
    throw new FormatError("ERR_BAD_VALUE", "erofs_xattr_long_prefix.baseIndex", offset, `found ${index}`);
  return entry.prefix;
}

/**
 * The full name of an xattr.
 *
 * @param offset Byte offset of the entry, for the error.
 * @throws FormatError ERR_BAD_VALUE
 */
export function xattrName(
  prefixes: readonly ByteString[],
  index: number,
  suffix: ByteString,
  offset: number,
): ByteString {
  if ((index & XATTR_LONG_PREFIX) !== 0) {
    const long = prefixes[index & XATTR_LONG_PREFIX_MASK];
    if (long !== undefined) return long + suffix;
  } else {
    const entry = BY_INDEX[index];
    if (entry !== undefined && entry.whole === (suffix === "")) return entry.prefix + suffix;
  }
  throw new FormatError(
    "ERR_BAD_VALUE",
    "erofs_xattr_entry.nameIndex",
    offset,
    `found ${index} with a name of ${suffix.length} bytes, which no prefix of this image takes`,
  );
}
