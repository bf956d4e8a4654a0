import type { Settings } from "./config.ts";
import { toGuest, toHost } from "./id-map.ts";

const NAMES = [Buffer.from("system.posix_acl_access"), Buffer.from("system.posix_acl_default")];
/** `struct posix_acl_xattr_header`: a version; then entries of tag, permissions, ID. Linux include/uapi/linux/posix_acl_xattr.h. */
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
const ID_AT = 4;
const ACL_USER = 2;
const ACL_GROUP = 8;

/** Whether an attribute's name is that of an access control list. */
export function isAcl(bytes: Uint8Array, at: number, length: number): boolean {
  for (const name of NAMES) {
    if (length !== name.length) continue;
    let i = 0;
    while (i < length && bytes[at + i] === name[i]) i++;
    if (i === length) return true;
  }
  return false;
}

/**
 * Changes the user and group IDs in an access control list, in place: the guest's to the host's, or back.
 * @returns false when it names one that the host has not
 */
export function mapAcl(settings: Settings, bytes: Buffer, at: number, length: number, isToHost: boolean): boolean {
  if (settings.uidMap.length === 0 && settings.gidMap.length === 0) return true;
  for (let entry = at + HEADER_BYTES; entry + ENTRY_BYTES <= at + length; entry += ENTRY_BYTES) {
    const tag = bytes.readUInt16LE(entry);
    if (tag !== ACL_USER && tag !== ACL_GROUP) continue;
    const ranges = tag === ACL_USER ? settings.uidMap : settings.gidMap;
    const id = bytes.readUInt32LE(entry + ID_AT);
    const mapped = isToHost ? toHost(ranges, id) : toGuest(ranges, id);
    if (mapped < 0) return false;
    bytes.writeUInt32LE(mapped, entry + ID_AT);
  }
  return true;
}
