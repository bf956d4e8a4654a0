/** EROFS images: read, check and write, over bytes. */
export { superBlockChecksum } from "./checksum.ts";
