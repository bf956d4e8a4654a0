import { constants } from "node:os";

/** Error numbers, positive. Node.js has no EUCLEAN. */
export const {
  EAGAIN,
  EINTR,
  EIO,
  EINVAL,
  EISDIR,
  ENODATA,
  ENODEV,
  ENOENT,
  ENOTDIR,
  ENXIO,
  EOPNOTSUPP,
  ERANGE,
  EROFS,
} = constants.errno;
export const EUCLEAN = 117;
