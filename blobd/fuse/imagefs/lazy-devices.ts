import { closeSync, constants, existsSync, openSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";
import { openServedPartial, type PartialBlob, type SharedBlob } from "../../store/index.ts";
import { isFuse } from "../../sys/index.ts";

/** A blob of which what is read has to come first, as threads use it. */
export interface LazyDevice {
  readonly blob: SharedBlob;
  /** The file that `blobd serve` shows it as, past the page cache: who reads there waits until it is there. */
  readonly servedFd: number;
}

/** A blob's file: complete, or one that is filled. */
export interface DeviceFile {
  readonly path: string;
  readonly lazy: LazyDevice | null;
}

const SERVED_NAME = /^[0-9a-f]{64}$/;

/** What is held open for lazy devices, by their descriptors. */
const held = new Map<number, PartialBlob>();

/**
 * Where a device's bytes are. One that `blobd serve` shows on a mount is read where the store keeps it, not through the
 * mount: there it is fetched only.
 * @param storeRoot of the store that is served; undefined: every file is taken as it is
 * @throws StoreError, SysError
 */
export function openDeviceFile(path: string, storeRoot: string | undefined): DeviceFile {
  if (storeRoot === undefined || !isFuse(path)) return { path, lazy: null };
  const real = realpathSync(path);
  const key = basename(real);
  // A complete one, of a client that asked before it was: read as any file.
  if (!SERVED_NAME.test(key) || !existsSync(join(storeRoot, "partial", `${key}.map`))) return { path, lazy: null };
  // First: while it is open the service keeps the blob.
  const servedFd = openSync(real, constants.O_RDONLY | constants.O_DIRECT);
  try {
    const partial = openServedPartial(storeRoot, key);
    held.set(servedFd, partial);
    return { path: partial.path, lazy: { blob: partial.shared, servedFd } };
  } catch (error) {
    closeSync(servedFd);
    throw error;
  }
}

export function closeLazyDevice({ servedFd }: LazyDevice): void {
  held.get(servedFd)?.close();
  held.delete(servedFd);
  closeSync(servedFd);
}
