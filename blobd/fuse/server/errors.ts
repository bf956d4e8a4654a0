import { constants } from "node:os";
import { FormatError } from "../../../formats/bytes/index.ts";
import { SysError } from "../../sys/index.ts";

export const { EINVAL, EIO, ENOSYS, EOPNOTSUPP, EPROTO } = constants.errno;

/** Highest error number that a reply may carry; the kernel refuses others (fuse_dev_do_write: above -512). */
const MAX_ERRNO = 511;

/** The status that answers what a handler has thrown; null for what only a mistake of ours throws. */
export function statusOf(error: unknown): number | null {
  if (error instanceof FormatError) return -EINVAL;
  if (error instanceof SysError) return error.errno > 0 && error.errno <= MAX_ERRNO ? -error.errno : -EIO;
  return null;
}

/** A status that the kernel takes: an error number beyond its range would make it refuse the reply, and the caller hang. */
export function boundedStatus(status: number): number {
  return status >= -MAX_ERRNO ? status : -EIO;
}
