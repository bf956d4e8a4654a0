/** Codes of errors that another attempt meets again: what is wrong is in the image, the request or the permissions. */
const PERMANENT: ReadonlySet<string> = new Set([
  "ERR_NOT_FOUND",
  "ERR_UNAUTHORIZED",
  "ERR_CREDENTIALS",
  "ERR_PLATFORM",
  "ERR_BAD_SOURCE",
  "ERR_BAD_MANIFEST",
  "ERR_UNSUPPORTED",
  "ERR_LIMIT",
  "ERR_STORE_LIMIT",
  // Of formats: bytes that were verified by their digest and are wrong all the same.
  "ERR_TRUNCATED",
  "ERR_BAD_VALUE",
  "ERR_NOT_JSON",
]);

/** Whether an error of this code is final. Networks, full disks, lost processes and everything unknown are not. */
export function isPermanent(code: unknown): boolean {
  return typeof code === "string" && PERMANENT.has(code);
}
