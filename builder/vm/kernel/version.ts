import { FormatError } from "../../../formats/bytes/index.ts";

/** Where the setup header begins, and its magic. Linux Documentation/arch/x86/boot.rst. */
const MAGIC_AT = 0x202;
const MAGIC = "HdrS";
/** Offset of the version string less 0x200, u16. */
const KERNEL_VERSION_AT = 0x20e;
/** Boot sector and setup header: what has to be read before `bzImageVersion` is called, in bytes. */
export const BZIMAGE_HEAD_BYTES = 0x200 + 0x10000;
const LONGEST_VERSION = 128;
const VERSION = /^[0-9][\w.+~-]*/;

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
  const version = VERSION.exec(text)?.[0];
  if (version === undefined)
    throw new FormatError("ERR_BAD_VALUE", "bzImage kernel_version", at, "no version string there");
  return version;
}

const ELF_MAGIC = Buffer.from("\x7fELF", "latin1");
const BANNER = Buffer.from("Linux version ", "latin1");

/** Whether this is an ELF file, as an uncompressed kernel (vmlinux) is. */
export function isElf(head: Uint8Array): boolean {
  return ELF_MAGIC.equals(head.subarray(0, ELF_MAGIC.length));
}

/**
 * The release of an uncompressed kernel (vmlinux), by the banner that it would print at boot.
 * @throws FormatError when it has none.
 */
export function vmlinuxVersion(image: Uint8Array): string {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.length);
  for (let at = bytes.indexOf(BANNER); at >= 0; at = bytes.indexOf(BANNER, at + 1)) {
    const version = VERSION.exec(
      bytes.toString("latin1", at + BANNER.length, at + BANNER.length + LONGEST_VERSION),
    )?.[0];
    if (version !== undefined) return version;
  }
  throw new FormatError("ERR_BAD_VALUE", "vmlinux", 0, "no Linux banner in it: not a kernel");
}
