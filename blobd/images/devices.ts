import { closeSync, openSync, readSync, statSync } from "node:fs";
import { type ByteSource, outside } from "../../formats/bytes/index.ts";
import { openErofs } from "../../formats/erofs/index.ts";
import { BLOCK_SIZE } from "../../formats/tree/index.ts";

/** The device table of an image in a file. */
export interface DeviceTable {
  readonly devices: readonly { readonly tag: string; readonly mappedBlkAddr: number }[];
  /** The file holds its devices, if any: it needs no others. */
  readonly isFlat: boolean;
}

/** @throws FormatError; the system's errors */
export function readDevices(metaPath: string): DeviceTable {
  const fd = openSync(metaPath, "r");
  try {
    const source = fileSource(fd);
    const { devices } = openErofs(source);
    const last = devices.at(-1);
    const isFlat =
      last === undefined || (last.mappedBlkAddr > 0 && (last.mappedBlkAddr + last.blocks) * BLOCK_SIZE <= source.size);
    return { devices, isFlat };
  } finally {
    closeSync(fd);
  }
}

/** What an image calls its devices, in slot order. @throws FormatError; the system's errors */
export function deviceTags(metaPath: string): string[] {
  return readDevices(metaPath).devices.map(({ tag }) => tag);
}

function fileSource(fd: number): ByteSource {
  const { size } = statSync(`/proc/self/fd/${fd}`);
  return {
    size,
    read(offset, length) {
      const bytes = Buffer.alloc(length);
      if (readSync(fd, bytes, 0, length, offset) !== length) throw outside(offset, length, size);
      return bytes;
    },
  };
}
