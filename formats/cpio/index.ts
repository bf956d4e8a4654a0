/** cpio archives in the "new ASCII" form: what Linux takes as an initramfs. */
export { type CpioEntry, MAX_CPIO_FILE_BYTES, writeCpio } from "./write.ts";
