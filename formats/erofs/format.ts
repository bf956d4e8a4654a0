/**
 * EROFS on disk: structures and constants, camel-cased names of Linux fs/erofs/erofs_fs.h (checked against 6.18).
 *
 * ```
 *   0      1024      1152            4096                         (4 KiB blocks)
 *   +------+---------+---------------+------------------+--------+----------------+
 *   | zero | super   | device slots  | shared xattrs    | inodes | directory data |
 *   |      | block   | (128 B each)  | (xattrBlkAddr)   | (NIDs) | blocks         |
 *   +------+---------+---------------+------------------+--------+----------------+
 * ```
 * A NID is an inode's place in 32-byte slots from metaBlkAddr, a shared xattr's id its place in 4-byte units from
 * xattrBlkAddr. The writer leaves no gaps: xattrBlkAddr and metaBlkAddr are the blocks in which those areas start; only
 * the data blocks start on a block of their own.
 */
import { struct } from "../bytes/index.ts";

export const SUPER_OFFSET = 1024;
export const SUPER_MAGIC_V1 = 0xe0f5e1e2;
/** Bytes in an inode slot, the unit of NIDs. */
export const ISLOT_SIZE = 32;
export const BLOCK_SIZE_BITS = 12;

export const FEATURE_COMPAT_SB_CHKSUM = 0x1;
export const FEATURE_COMPAT_MTIME = 0x2;
export const FEATURE_COMPAT_XATTR_FILTER = 0x4;

export const FEATURE_INCOMPAT_CHUNKED_FILE = 0x4;
export const FEATURE_INCOMPAT_DEVICE_TABLE = 0x8;

/** `struct erofs_super_block`, at SUPER_OFFSET. */
// biome-ignore format: laid out as in the header
export const SuperBlock = struct("erofs_super_block", 128, {
  magic: "u32", checksum: "u32", featureCompat: "u32", blkSzBits: "u8", sbExtSlots: "u8", rootNid: "u16",
  inos: "u53", buildTime: "u53",
  buildTimeNsec: "u32", blocks: "u32", metaBlkAddr: "u32", xattrBlkAddr: "u32",
  uuid: "bytes16",
  volumeName: "bytes16",
  featureIncompat: "u32", availableComprAlgs: "u16", extraDevices: "u16", devtSlotOff: "u16", dirBlkBits: "u8",
  xattrPrefixCount: "u8", xattrPrefixStart: "u32", packedNid: "u53", xattrFilterReserved: "u8",
  reserved2: "bytes23",
});

/** `struct erofs_deviceslot`: a blob device; devtSlotOff is its place in units of 128 bytes from the image's start. */
// biome-ignore format: laid out as in the header
export const DeviceSlot = struct("erofs_deviceslot", 128, {
  tag: "bytes64",
  blocks: "u32", mappedBlkAddr: "u32",
  reserved: "bytes56",
});

/** i_format: bit 0 is the inode version, bits 1 to 3 the data layout. */
export const INODE_LAYOUT_COMPACT = 0;
export const INODE_LAYOUT_EXTENDED = 1;
export const INODE_DATALAYOUT_SHIFT = 1;
export const DATALAYOUT_FLAT_PLAIN = 0;
export const DATALAYOUT_COMPRESSED_FULL = 1;
export const DATALAYOUT_FLAT_INLINE = 2;
export const DATALAYOUT_COMPRESSED_COMPACT = 3;
export const DATALAYOUT_CHUNK_BASED = 4;

/**
 * `struct erofs_inode_compact`. `u` by type: rawBlkAddr (flat files and directories), rdev (devices),
 * chunk info (u16 chunkFormat, u16 reserved).
 */
// biome-ignore format: laid out as in the header
export const InodeCompact = struct("erofs_inode_compact", 32, {
  format: "u16", xattrIcount: "u16", mode: "u16", nlink: "u16", size: "u32", reserved: "u32",
  u: "u32", ino: "u32", uid: "u16", gid: "u16", reserved2: "u32",
});

/** `struct erofs_inode_extended`. `mtime` is signed (two's complement): read it as `mtimeLow` and `mtimeHigh`. */
// biome-ignore format: laid out as in the header
export const InodeExtended = struct("erofs_inode_extended", 64, {
  format: "u16", xattrIcount: "u16", mode: "u16", reserved: "u16", size: "u53",
  u: "u32", ino: "u32", uid: "u32", gid: "u32",
  mtimeLow: "u32", mtimeHigh: "i32", mtimeNsec: "u32", nlink: "u32",
  reserved2: "bytes16",
});

/** chunk info in `u`: low 5 bits are log2(chunk size) - blkSzBits; then 8-byte indexes rather than 4-byte block addresses. */
export const CHUNK_FORMAT_BLKBITS_MASK = 0x1f;
export const CHUNK_FORMAT_INDEXES = 0x20;

/**
 * `struct erofs_inode_chunk_index`: one per chunk, after the inode and its xattrs, aligned to 8. Device 0 is the image
 * itself. `advise` is zero here; since Linux 6.15 it holds high address bits if the chunk format says so.
 */
export const ChunkIndex = struct("erofs_inode_chunk_index", 8, { advise: "u16", deviceId: "u16", blkAddr: "u32" });
/** blkAddr of a chunk that is a hole. */
export const NULL_ADDR = 0xffffffff;

/** `struct erofs_dirent`: at the start of each directory block, names packed after the last one. */
export const Dirent = struct("erofs_dirent", 12, { nid: "u53", nameOff: "u16", fileType: "u8", reserved: "u8" });
/** erofs_dirent.fileType, as in Linux include/linux/fs_types.h. */
export const FT_UNKNOWN = 0;
export const FT_REG_FILE = 1;
export const FT_DIR = 2;
export const FT_CHRDEV = 3;
export const FT_BLKDEV = 4;
export const FT_FIFO = 5;
export const FT_SOCK = 6;
export const FT_SYMLINK = 7;
/** Longest file name in bytes (EROFS_NAME_LEN). */
export const NAME_LEN = 255;

/** `struct erofs_xattr_ibody_header`: after the inode; then sharedCount u32 ids, then inline entries. */
// biome-ignore format: laid out as in the header
export const XattrIbodyHeader = struct("erofs_xattr_ibody_header", 12, {
  nameFilter: "u32", sharedCount: "u8", reserved: "bytes7",
});
/** `struct erofs_xattr_entry`: then the name without its prefix, the value, and padding to 4 bytes. */
export const XattrEntry = struct("erofs_xattr_entry", 4, { nameLen: "u8", nameIndex: "u8", valueSize: "u16" });

/** erofs_xattr_entry.nameIndex: which prefix is left out of the name. Longest match first. */
export const XATTR_PREFIXES = [
  { index: 2, prefix: "system.posix_acl_access", whole: true },
  { index: 3, prefix: "system.posix_acl_default", whole: true },
  { index: 1, prefix: "user.", whole: false },
  { index: 4, prefix: "trusted.", whole: false },
  { index: 6, prefix: "security.", whole: false },
] as const;
