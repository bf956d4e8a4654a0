import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { type ByteSource, outside } from "../../formats/bytes/index.ts";

/** A file as a ByteSource; `close` it when done. */
export interface FileSource extends ByteSource {
  readonly path: string;
  close(): void;
}

/** Reads of up to this size are served from a window read ahead: metadata is read in small pieces that lie together. */
const WINDOW = 1 << 20;

/** Opens a file for reading. @throws the system's error (ENOENT, EACCES). */
export function openFileSource(path: string): FileSource {
  const fd = openSync(path, "r");
  const { size } = fstatSync(fd);
  let window: Uint8Array = new Uint8Array(0);
  let windowStart = 0;

  const readAt = (offset: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const got = readSync(fd, bytes, done, length - done, offset + done);
      if (got === 0) throw outside(offset, length, offset + done);
      done += got;
    }
    return bytes;
  };

  return {
    path,
    size,
    read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > size) throw outside(offset, length, size);
      if (length > WINDOW / 2) return readAt(offset, length);
      if (offset < windowStart || offset + length > windowStart + window.length) {
        windowStart = offset;
        window = readAt(offset, Math.min(WINDOW, size - offset));
      }
      return window.subarray(offset - windowStart, offset - windowStart + length);
    },
    close: () => closeSync(fd),
  };
}
