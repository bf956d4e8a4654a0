import type { FuseRequest } from "../request.ts";
import { EINVAL, ENAMETOOLONG, ENOENT, NAME_MAX } from "./linux.ts";

const SLASH = 0x2f;
const DOT = 0x2e;

/**
 * Makes sure that a name is one component, which no system call takes for a path: with a slash in it, or `.` or `..`, it
 * would lead elsewhere.
 * @param at where it starts in the request's input
 * @param length in bytes
 * @returns 0 or a negative error number
 */
export function checkName(request: FuseRequest, at: number, length: number): number {
  if (length === 0) return -ENOENT;
  if (length > NAME_MAX) return -ENAMETOOLONG;
  const { bytes } = request.input;
  for (let i = at; i < at + length; i++) if (bytes[i] === SLASH || bytes[i] === 0) return -EINVAL;
  if (bytes[at + length] !== 0) return -EINVAL;
  if (bytes[at] === DOT && (length === 1 || (length === 2 && bytes[at + 1] === DOT))) return -EINVAL;
  return 0;
}

/** `checkName` of the request's first name. */
export function firstName(request: FuseRequest): number {
  return checkName(request, request.nameAt, request.nameBytes);
}
