import { FormatError } from "../bytes/index.ts";
import { treeOffset, VERITY_ALGORITHM, VERITY_BLOCK, VERITY_SALT, type VerityRoot } from "../verity/index.ts";
import {
  DM_DEFERRED_REMOVE,
  DM_DEV_CREATE,
  DM_DEV_REMOVE,
  DM_DEV_SUSPEND,
  DM_NAME_LEN,
  DM_PERSISTENT_DEV_FLAG,
  DM_READONLY_FLAG,
  DM_TABLE_LOAD,
  DM_VERSION_MAJOR,
  DmIoctl,
  DmTargetSpec,
  SECTOR_BYTES,
} from "./format.ts";

/** One ioctl. The kernel writes its answer over `bytes`. */
export interface DmRequest {
  readonly command: number;
  readonly bytes: Buffer;
}

/**
 * The ioctls that make a device whose blocks are checked against their hash tree, in order. The tree lies behind the data on
 * the same device, as formats/verity draws it.
 *
 * @param device the kernel's name of what is checked: a path, or `MAJOR:MINOR`
 * @param minor makes it `/dev/dm-MINOR`; else the first number that is free, which the first answer tells (`createdMinor`)
 * @throws FormatError for a name or path that the interface cannot hold
 */
export function verityDevice(
  name: string,
  device: string,
  verity: VerityRoot,
  minor?: number,
): readonly [create: DmRequest, load: DmRequest, resume: DmRequest] {
  const create = request(DM_DEV_CREATE, name, minor === undefined ? 0 : DM_PERSISTENT_DEV_FLAG);
  if (minor !== undefined) DmIoctl.view(create.bytes).dev = encodeDevice(minor);
  return [create, loadTable(name, device, verity), request(DM_DEV_SUSPEND, name, 0)];
}

/** The ioctl that removes a device; one that is in use goes with its last user. */
export function removeDevice(name: string): DmRequest {
  return request(DM_DEV_REMOVE, name, DM_DEFERRED_REMOVE);
}

/** The number of `/dev/dm-N`, out of the answer to the ioctl that created it. `new_decode_dev`, Linux linux/kdev_t.h. */
export function createdMinor({ bytes }: DmRequest): number {
  const { dev } = DmIoctl.view(bytes);
  return (dev & 0xff) | ((dev >>> 12) & 0xfff00);
}

/** `new_encode_dev` with major 0: the kernel has device mapper's own. */
function encodeDevice(minor: number): number {
  return ((minor & 0xff) | ((minor & ~0xff) << 12)) >>> 0;
}

/** Linux Documentation/admin-guide/device-mapper/verity.rst: version, devices, block sizes, blocks, start, hash, root, salt. */
function loadTable(name: string, device: string, verity: VerityRoot): DmRequest {
  if (/[\s\\]/.test(device) || device === "") throw badText("device", device, "a path without white space");
  const parameters = [
    1,
    device,
    device,
    VERITY_BLOCK,
    VERITY_BLOCK,
    verity.dataBlocks,
    treeOffset(verity) / VERITY_BLOCK,
    VERITY_ALGORITHM,
    verity.rootHex,
    Buffer.from(VERITY_SALT).toString("hex"),
  ].join(" ");
  const text = Buffer.from(`${parameters}\0`);
  // The next target would start on a multiple of 8; the kernel wants `next` there even for the last one.
  const targetBytes = Math.ceil((DmTargetSpec.size + text.length) / 8) * 8;
  const load = request(DM_TABLE_LOAD, name, DM_READONLY_FLAG, targetBytes);
  DmIoctl.view(load.bytes).targetCount = 1;
  const target = DmTargetSpec.view(load.bytes, DmIoctl.size);
  target.length = (verity.dataBlocks * VERITY_BLOCK) / SECTOR_BYTES;
  target.next = targetBytes;
  load.bytes.write("verity", DmIoctl.size + DmTargetSpec.at.targetType, "latin1");
  load.bytes.set(text, DmIoctl.size + DmTargetSpec.size);
  return load;
}

function request(command: number, name: string, flags: number, dataBytes = 0): DmRequest {
  if (!/^[\w.-]+$/.test(name) || name.length >= DM_NAME_LEN)
    throw badText("name", name, `1 to ${DM_NAME_LEN - 1} letters, digits, dots, dashes`);
  const bytes = Buffer.alloc(DmIoctl.size + dataBytes);
  const view = DmIoctl.view(bytes);
  view.versionMajor = DM_VERSION_MAJOR;
  view.dataSize = bytes.length;
  view.dataStart = DmIoctl.size;
  view.flags = flags;
  bytes.write(name, DmIoctl.at.deviceName, "latin1");
  return { command, bytes };
}

function badText(field: string, found: string, expected: string): FormatError {
  const text = JSON.stringify(found.slice(0, 100));
  return new FormatError("ERR_BAD_VALUE", `dm_ioctl.${field}`, 0, `found ${text}, expected ${expected}`);
}
