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
  return withImage(metaPath, (source) => {
    const { devices } = openErofs(source);
    const last = devices.at(-1);
    const isFlat =
      last === undefined || (last.mappedBlkAddr > 0 && (last.mappedBlkAddr + last.blocks) * BLOCK_SIZE <= source.size);
    return { devices, isFlat };
  });
}

/** Attributes of a root directory, as stat(2) tells them. */
export interface RootAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Date;
}

/** Those of an image in a file. @throws FormatError; the system's errors */
export function imageRoot(metaPath: string): RootAttributes {
  return withImage(metaPath, (source) => {
    const image = openErofs(source);
    const { mode, uid, gid, mtimeSeconds, mtimeNanos } = image.inode(image.rootNid);
    return { mode, uid, gid, mtime: new Date(mtimeSeconds * 1000 + mtimeNanos / 1e6) };
  });
}

function withImage<T>(path: string, work: (source: ByteSource) => T): T {
  const fd = openSync(path, "r");
  try {
    return work(fileSource(fd));
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
