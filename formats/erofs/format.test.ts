import { strict as assert } from "node:assert";
import { test } from "node:test";
import * as format from "./format.ts";

// Offsets, sizes and values typed a second time on purpose, from Linux fs/erofs/erofs_fs.h.

const LAYOUTS = [
  [
    format.SuperBlock,
    128,
    [
      ["magic", 0],
      ["checksum", 4],
      ["featureCompat", 8],
      ["blkSzBits", 12],
      ["sbExtSlots", 13],
      ["rootNid", 14],
      ["inos", 16],
      ["buildTime", 24],
      ["buildTimeNsec", 32],
      ["blocks", 36],
      ["metaBlkAddr", 40],
      ["xattrBlkAddr", 44],
      ["uuid", 48],
      ["volumeName", 64],
      ["featureIncompat", 80],
      ["availableComprAlgs", 84],
      ["extraDevices", 86],
      ["devtSlotOff", 88],
      ["dirBlkBits", 90],
      ["xattrPrefixCount", 91],
      ["xattrPrefixStart", 92],
      ["packedNid", 96],
      ["xattrFilterReserved", 104],
      ["reserved2", 105],
    ],
  ],
  [
    format.DeviceSlot,
    128,
    [
      ["tag", 0],
      ["blocks", 64],
      ["mappedBlkAddr", 68],
      ["reserved", 72],
    ],
  ],
  [
    format.InodeCompact,
    32,
    [
      ["format", 0],
      ["xattrIcount", 2],
      ["mode", 4],
      ["nlink", 6],
      ["size", 8],
      ["reserved", 12],
      ["u", 16],
      ["ino", 20],
      ["uid", 24],
      ["gid", 26],
      ["reserved2", 28],
    ],
  ],
  [
    format.InodeExtended,
    64,
    [
      ["format", 0],
      ["xattrIcount", 2],
      ["mode", 4],
      ["reserved", 6],
      ["size", 8],
      ["u", 16],
      ["ino", 20],
      ["uid", 24],
      ["gid", 28],
      ["mtimeLow", 32],
      ["mtimeHigh", 36],
      ["mtimeNsec", 40],
      ["nlink", 44],
      ["reserved2", 48],
    ],
  ],
  [
    format.ChunkIndex,
    8,
    [
      ["advise", 0],
      ["deviceId", 2],
      ["blkAddr", 4],
    ],
  ],
  [
    format.Dirent,
    12,
    [
      ["nid", 0],
      ["nameOff", 8],
      ["fileType", 10],
      ["reserved", 11],
    ],
  ],
  [
    format.XattrIbodyHeader,
    12,
    [
      ["nameFilter", 0],
      ["sharedCount", 4],
      ["reserved", 5],
    ],
  ],
  [
    format.XattrEntry,
    4,
    [
      ["nameLen", 0],
      ["nameIndex", 1],
      ["valueSize", 2],
    ],
  ],
] as const;

for (const [struct, size, fields] of LAYOUTS)
  test(`${struct.name} has ${size} bytes and its fields where the header has them`, () => {
    assert.equal(struct.size, size);
    assert.deepEqual(Object.entries(struct.at), fields);
  });

test("constants have the header's values", () => {
  assert.equal(format.SUPER_OFFSET, 1024);
  assert.equal(format.SUPER_MAGIC_V1, 0xe0f5e1e2);
  assert.equal(1 << format.BLOCK_SIZE_BITS, 4096);
  assert.deepEqual(
    [format.FEATURE_COMPAT_SB_CHKSUM, format.FEATURE_COMPAT_MTIME, format.FEATURE_COMPAT_XATTR_FILTER],
    [1, 2, 4],
  );
  assert.deepEqual([format.FEATURE_INCOMPAT_CHUNKED_FILE, format.FEATURE_INCOMPAT_DEVICE_TABLE], [4, 8]);
  assert.deepEqual(
    [format.INODE_LAYOUT_COMPACT, format.INODE_LAYOUT_EXTENDED, format.INODE_DATALAYOUT_SHIFT],
    [0, 1, 1],
  );
  assert.deepEqual(
    [
      format.DATALAYOUT_FLAT_PLAIN,
      format.DATALAYOUT_COMPRESSED_FULL,
      format.DATALAYOUT_FLAT_INLINE,
      format.DATALAYOUT_COMPRESSED_COMPACT,
      format.DATALAYOUT_CHUNK_BASED,
    ],
    [0, 1, 2, 3, 4],
  );
  assert.deepEqual([format.CHUNK_FORMAT_BLKBITS_MASK, format.CHUNK_FORMAT_INDEXES], [0x1f, 0x20]);
  assert.equal(format.NULL_ADDR, 0xffffffff);
  assert.deepEqual(
    [
      format.FT_UNKNOWN,
      format.FT_REG_FILE,
      format.FT_DIR,
      format.FT_CHRDEV,
      format.FT_BLKDEV,
      format.FT_FIFO,
      format.FT_SOCK,
      format.FT_SYMLINK,
    ],
    [0, 1, 2, 3, 4, 5, 6, 7],
  );
  assert.deepEqual(Object.fromEntries(format.XATTR_PREFIXES.map((p) => [p.prefix, p.index])), {
    "user.": 1,
    "system.posix_acl_access": 2,
    "system.posix_acl_default": 3,
    "trusted.": 4,
    "security.": 6,
  });
});
