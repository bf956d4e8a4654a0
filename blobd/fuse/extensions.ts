import { FormatError } from "../../formats/bytes/index.ts";
import { EXT_GROUPS, ExtHeader, MAX_NR_SECCTX, Secctx, SuppGroups } from "../../formats/fuse/index.ts";
import type { FuseRequest } from "./request.ts";

/**
 * Extensions of the requests that create files (fuse.h, `struct fuse_ext_header`): looked for when a handler wants them.
 *
 * ```
 *  extensionsAt  ExtHeader │ …padding to 8   ExtHeader │ …
 *                type EXT_GROUPS: SuppGroups │ group IDs, 4 bytes each
 *                type up to MAX_NR_SECCTX: so many times (Secctx │ name\0 │ context), each padded to 8
 * ```
 */

/** Most supplementary groups: setgroups(2) takes `NGROUPS_MAX`. Linux sends one at most, the new file's parent's. */
const MAX_GROUPS = 65536;

/**
 * The caller's supplementary groups, as far as they matter.
 * @returns where in `input` the SuppGroups lies, all of its groups behind it; -1 when there are none.
 * @throws FormatError when the extensions are not built as they must be.
 */
export function findGroups(request: FuseRequest): number {
  const at = find(request, isGroups);
  if (at < 0) return -1;
  const body = at + ExtHeader.size;
  const room = at + request.in.getUint32(at, true) - body - SuppGroups.size;
  const count = room < 0 ? 0 : request.in.getUint32(body, true);
  if (room < 0 || count > MAX_GROUPS || count * 4 > room)
    throw new FormatError("ERR_BAD_VALUE", "fuse_supp_groups.nr_groups", body, `found ${count} in ${room} bytes`);
  return body;
}

/** A security context that a new file shall have. */
export interface SecurityContext {
  /** Where in `input` the attribute's name lies, and its length without the NUL. */
  readonly nameAt: number;
  readonly nameBytes: number;
  /** Where its value lies. */
  readonly valueAt: number;
  readonly valueBytes: number;
}

/**
 * The new file's security contexts.
 * @throws FormatError when the extensions are not built as they must be.
 */
export function securityContexts(request: FuseRequest): SecurityContext[] {
  const contexts: SecurityContext[] = [];
  const header = find(request, isContexts);
  if (header < 0) return contexts;
  const end = header + request.in.getUint32(header, true);
  let left = request.in.getUint32(header + 4, true);
  for (let at = header + ExtHeader.size; left > 0; left--) {
    const nameAt = at + Secctx.size;
    const nul = nameAt > end ? -1 : request.input.bytes.indexOf(0, nameAt);
    if (nul < 0 || nul >= end)
      throw new FormatError("ERR_BAD_VALUE", "fuse_secctx", at, `its name has no end before byte ${end}`);
    const valueBytes = request.in.getUint32(at, true);
    if (nul + 1 + valueBytes > end)
      throw new FormatError("ERR_BAD_VALUE", "fuse_secctx.size", at, `found ${valueBytes}, it ends at byte ${end}`);
    if (valueBytes > 0) contexts.push({ nameAt, nameBytes: nul - nameAt, valueAt: nul + 1, valueBytes });
    at += align8(nul + 1 - at + valueBytes);
  }
  return contexts;
}

const isGroups = (type: number) => type === EXT_GROUPS;
const isContexts = (type: number) => type <= MAX_NR_SECCTX;

/** Where the first extension of a type lies, -1 when there is none. */
function find(request: FuseRequest, wanted: (type: number) => boolean): number {
  const end = request.inputBytes;
  for (let at = request.extensionsAt; at < end; ) {
    const size = at + ExtHeader.size > end ? 0 : request.in.getUint32(at, true);
    if (size < ExtHeader.size || at + size > end)
      throw new FormatError("ERR_BAD_VALUE", "fuse_ext_header.size", at, `found ${size}, ${end - at} bytes are left`);
    if (wanted(request.in.getUint32(at + 4, true))) return at;
    at += align8(size);
  }
  return -1;
}

function align8(bytes: number): number {
  return (bytes + 7) & ~7;
}
