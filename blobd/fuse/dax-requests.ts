import { FormatError, getU53 } from "../../formats/bytes/index.ts";
import { RemovemappingIn, RemovemappingOne, SetupmappingIn } from "../../formats/fuse/index.ts";
import { type DaxWindow, RANGE_BYTES } from "./dax-window.ts";
import { type FuseRequest, IN_ARGS } from "./request.ts";

const EINVAL = 22;

/** What a SETUPMAPPING asks for; filled again and again. */
export interface RangeRequest {
  fileOffset: number;
  windowOffset: number;
}

/**
 * Decodes a SETUPMAPPING: a range of a file, for a range of the window.
 * @returns whether it is what Linux would send
 * @throws FormatError
 */
export function decodeSetup({ in: dv }: FuseRequest, window: DaxWindow, into: RangeRequest): boolean {
  into.fileOffset = getU53(dv, IN_ARGS + SetupmappingIn.at.foffset, "fuse_setupmapping_in.foffset");
  into.windowOffset = getU53(dv, IN_ARGS + SetupmappingIn.at.moffset, "fuse_setupmapping_in.moffset");
  const length = getU53(dv, IN_ARGS + SetupmappingIn.at.len, "fuse_setupmapping_in.len");
  const isOfRange = into.fileOffset % RANGE_BYTES === 0 && into.windowOffset % RANGE_BYTES === 0;
  return isOfRange && length <= RANGE_BYTES && into.windowOffset + RANGE_BYTES <= window.bytes;
}

/** REMOVEMAPPING: any number of ranges. @throws FormatError */
export function removeMappings(request: FuseRequest, window: DaxWindow): number {
  const { in: dv } = request;
  const count = dv.getUint32(IN_ARGS + RemovemappingIn.at.count, true);
  const start = IN_ARGS + RemovemappingIn.size;
  if (count * RemovemappingOne.size > request.extensionsAt - start)
    throw new FormatError(
      "ERR_BAD_VALUE",
      "fuse_removemapping_in.count",
      IN_ARGS,
      `found ${count} in ${request.extensionsAt - start} bytes`,
    );
  for (let at = start, left = count; left > 0; left--, at += RemovemappingOne.size) {
    const offset = getU53(dv, at + RemovemappingOne.at.moffset, "fuse_removemapping_one.moffset");
    const length = getU53(dv, at + RemovemappingOne.at.len, "fuse_removemapping_one.len");
    if (offset + length > window.bytes) return -EINVAL;
    const status = window.remove(offset, length);
    if (status < 0) return status;
  }
  return 0;
}
