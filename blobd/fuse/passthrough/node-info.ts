/** The word `info` of a node: device, file type (S_IFMT >> 12), flags, length and type of the file handle. */
const TYPE_SHIFT = 8;
const HANDLE_BYTES_SHIFT = 16;
const HANDLE_TYPE_SHIFT = 24;
/** It is held by a file handle. */
export const BY_HANDLE = 1 << 12;
/** Parts of it were mapped into the guest. */
export const MAPPED = 1 << 13;

export function infoOf(device: number, mode: number): number {
  return device | ((mode >>> 12) << TYPE_SHIFT);
}
export function infoOfHandle(bytes: number, type: number): number {
  return BY_HANDLE | (bytes << HANDLE_BYTES_SHIFT) | (type << HANDLE_TYPE_SHIFT);
}
export function deviceOf(info: number): number {
  return info & 0xff;
}
export function typeOf(info: number): number {
  return ((info >>> TYPE_SHIFT) & 0xf) << 12;
}
export function handleBytes(info: number): number {
  return (info >>> HANDLE_BYTES_SHIFT) & 0xff;
}
export function handleType(info: number): number {
  return info >>> HANDLE_TYPE_SHIFT;
}
