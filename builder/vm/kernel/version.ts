import { FormatError } from "../../../formats/bytes/index.ts";

/** Where the setup header begins, and its magic. Linux Documentation/arch/x86/boot.rst. */
const MAGIC_AT = 0x202;
const MAGIC = "HdrS";
/** Offset of the version string less 0x200, u16. */
const KERNEL_VERSION_AT = 0x20e;
/** Boot sector and setup header: what has to be read before `bzImageVersion` is called, in bytes. */
export const BZIMAGE_HEAD_BYTES = 0x200 + 0x10000;
const LONGEST_VERSION = 128;

/**
 * The release of an x86 kernel image (bzImage), as `uname -r` prints it.
 * @throws FormatError when it is none.
 */
export function bzImageVersion(head: Uint8Array): string {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length);
  if (bytes.length < KERNEL_VERSION_AT + 2)
    throw new FormatError("ERR_TRUNCATED", "bzImage setup header", 0, `${bytes.length} bytes, too few for a kernel`);
  if (bytes.toString("latin1", MAGIC_AT, MAGIC_AT + 4) !== MAGIC)
    throw new FormatError("ERR_BAD_VALUE", "bzImage setup header", MAGIC_AT, `no ${MAGIC}: not an x86 kernel image`);
  const at = bytes.readUInt16LE(KERNEL_VERSION_AT) + 0x200;
  const text = bytes.toString("latin1", at, at + LONGEST_VERSION);
  const version = /^[0-9A-Za-z][\w.+~-]*/.exec(text)?.[0];
  if (version === undefined)
    throw new FormatError("ERR_BAD_VALUE", "bzImage kernel_version", at, "no version string there");
  return version;
}
