/** Device mapper's interface: ioctls on /dev/mapper/control. Linux include/uapi/linux/dm-ioctl.h. */
import { struct } from "../bytes/index.ts";

/** `struct dm_ioctl`: comes before what a request is about, and back with the answer. */
export const DmIoctl = struct("dm_ioctl", 312, {
  versionMajor: "u32",
  versionMinor: "u32",
  versionPatch: "u32",
  dataSize: "u32",
  dataStart: "u32",
  targetCount: "u32",
  openCount: "i32",
  flags: "u32",
  eventNr: "u32",
  padding: "u32",
  dev: "u53",
  deviceName: "bytes128",
  uuid: "bytes129",
  unused: "bytes7",
});

/** `struct dm_target_spec`: one target of a table, its parameters as text behind it. */
export const DmTargetSpec = struct("dm_target_spec", 40, {
  sectorStart: "u53",
  length: "u53",
  status: "i32",
  next: "u32",
  targetType: "bytes16",
});

export const DM_CONTROL = "/dev/mapper/control";
export const DM_VERSION_MAJOR = 4;
export const DM_NAME_LEN = 128;
export const DM_READONLY_FLAG = 1;
export const DM_PERSISTENT_DEV_FLAG = 1 << 3;
export const DM_DEFERRED_REMOVE = 1 << 17;
/** What a table counts in, in bytes. */
export const SECTOR_BYTES = 512;

/** `_IOWR(DM_IOCTL, number, struct dm_ioctl)`, asm-generic/ioctl.h. */
const command = (number: number) => 0xc000_0000 + DmIoctl.size * 0x1_0000 + 0xfd00 + number;
export const DM_DEV_CREATE = command(3);
export const DM_DEV_REMOVE = command(4);
export const DM_DEV_SUSPEND = command(6);
export const DM_TABLE_LOAD = command(9);
