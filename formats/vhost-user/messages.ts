import { struct } from "../bytes/index.ts";

// The vhost-user specification, "Message Specification". Integers are in the machine's byte order, which is
// little-endian on every machine that this runs on.

/** Every message starts with it. */
export const Header = struct("vhost_user_header", 12, { request: "u32", flags: "u32", size: "u32" });

/** Bits 0 and 1 of `flags`. */
export const VERSION = 1;
export const VERSION_MASK = 3;
export const FLAG_REPLY = 4;
export const FLAG_NEED_REPLY = 8;

export const U64 = struct("vhost_user_u64", 8, { value: "u64" });
export const VringState = struct("vhost_vring_state", 8, { index: "u32", num: "u32" });
export const VringAddr = struct("vhost_vring_addr", 40, {
  index: "u32",
  flags: "u32",
  descriptor: "u53",
  used: "u53",
  available: "u53",
  log: "u64",
});

/** SET_VRING_KICK, CALL and ERR: a queue's index, and whether no descriptor comes along. */
export const VRING_INDEX_MASK = 0xff;
export const VRING_NO_FD = 0x100;

export const MemoryTable = struct("vhost_user_memory", 8, { numRegions: "u32", padding: "u32" });
export const RegionDescription = struct("vhost_user_memory_region", 32, {
  guestAddress: "u53",
  size: "u53",
  userAddress: "u53",
  mmapOffset: "u53",
});
/** ADD_MEM_REG and REM_MEM_REG: a RegionDescription follows. */
export const SINGLE_REGION_AT = 8;

/** GET_CONFIG and SET_CONFIG: `size` bytes follow, of those from `start` on. */
export const ConfigSpace = struct("vhost_user_config", 12, { start: "u32", size: "u32", flags: "u32" });
/** `ConfigSpace.flags`: for live migration. */
export const CONFIG_MIGRATION = 1;

/** GET_INFLIGHT_FD and SET_INFLIGHT_FD. C pads it to INFLIGHT_PADDED_BYTES, which is what QEMU sends. */
export const Inflight = struct("vhost_user_inflight", 20, {
  mmapSize: "u53",
  mmapOffset: "u53",
  numQueues: "u16",
  queueSize: "u16",
});
export const INFLIGHT_PADDED_BYTES = 24;

/** SHMEM_MAP and SHMEM_UNMAP. */
export const ShmemMmap = struct("vhost_user_mmap", 40, {
  shmid: "u8",
  padding: "bytes7",
  fdOffset: "u53",
  shmOffset: "u53",
  len: "u53",
  flags: "u64",
});
export const SHMEM_READ_WRITE = 1n;

/** GET_SHMEM_CONFIG's reply: MAX_SHMEM_REGIONS sizes of 8 bytes follow. */
export const ShmemConfig = struct("vhost_user_shmem_config", 8, { numRegions: "u32", padding: "u32" });

/** FS_MAP, FS_UNMAP, FS_SYNC and FS_IO: four arrays of FS_ENTRIES, of which entries of length 0 are not used. */
export const FsMessage = struct("vhost_user_fs_slave_msg", 256, {
  fdOffset: "bytes64",
  cacheOffset: "bytes64",
  len: "bytes64",
  flags: "bytes64",
});
/** Flags of an FsMessage: how to map; for FS_IO, R reads the file into guest memory and W writes it from there. */
export const FS_FLAG_READ = 1;
export const FS_FLAG_WRITE = 2;
