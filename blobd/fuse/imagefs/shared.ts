import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { type ByteSource, FormatError, outside } from "../../../formats/bytes/index.ts";
import { type ErofsReader, openErofs } from "../../../formats/erofs/index.ts";
import {
  allocAligned,
  check,
  mapShared,
  memfd,
  readFully,
  SysError,
  unmapShared,
  viewMemory,
} from "../../sys/index.ts";
import { RANGE_BYTES } from "../dax-window.ts";
import { daxFrom, type ImageConfig } from "./config.ts";
import { closeLazyDevice, type LazyDevice, openDeviceFile } from "./lazy-devices.ts";

/** What the threads that serve an image share, as a plain description: descriptors and addresses of the process. */
export interface ImageShared {
  /** Descriptors for reading: the image's own file, then its blobs. */
  readonly fds: readonly number[];
  /** The same for mapping: they can write, as the VMM wants. Empty when nothing is mapped. */
  readonly mapFds: readonly number[];
  /** By the same places: what is not there as a whole. */
  readonly lazy: readonly (LazyDevice | null)[];
  /** Size of the image's own file, in bytes. */
  readonly metaBytes: number;
  /** Where it is mapped; 0 when it is too large for that. */
  readonly metaAddress: number;
  /** /dev/zero: holes are read from it. */
  readonly zeroFd: number;
  /** As many zeros as a range of the window; -1 when nothing is mapped. */
  readonly zeroRangeFd: number;
}

/** Most devices of an image: it has one a layer, and registries take some hundred layers. */
const MAX_DEVICES = 4096;
/** Largest file that is looked into by a mapping: an array of bytes has 4 GiB at most. */
const MAX_MAPPED_BYTES = 0xffff_f000;

/**
 * Opens an image for the threads of a mount.
 * @throws FormatError when the file is no image that can be served; SysError when a part of it cannot be opened; RangeError
 */
export function createImageShared(config: ImageConfig): ImageShared {
  const maps = daxFrom(config) !== null;
  const opened: number[] = [];
  const lazy: LazyDevice[] = [];
  const open = (path: string, flags: number) => {
    const fd = openSync(path, flags);
    opened.push(fd);
    return fd;
  };
  try {
    if (config.devicePaths.length > MAX_DEVICES)
      throw new FormatError("ERR_UNSUPPORTED", "device table", 0, `found ${config.devicePaths.length} devices`);
    const devices = config.devicePaths.map((path) => {
      const device = openDeviceFile(path, config.lazyStore);
      if (device.lazy !== null) lazy.push(device.lazy);
      return device;
    });
    const paths = [config.metaPath, ...devices.map(({ path }) => path)];
    const fds = paths.map((path) => open(path, constants.O_RDONLY));
    const { size } = fstatSync(fds[0]!);
    const shared: ImageShared = {
      fds,
      lazy: [null, ...devices.map((device) => device.lazy)],
      mapFds: maps ? paths.map((path) => open(path, constants.O_RDWR)) : [],
      metaBytes: size,
      metaAddress: size > 0 && size <= MAX_MAPPED_BYTES ? mapShared(fds[0]!, 0, size, false) : 0,
      zeroFd: open("/dev/zero", constants.O_RDONLY),
      zeroRangeFd: maps ? memfd("blobd-zeros", RANGE_BYTES) : -1,
    };
    try {
      checkDevices(openShared(shared, true), config);
    } catch (error) {
      closeImageShared(shared);
      opened.length = 0;
      lazy.length = 0;
      throw error;
    }
    return shared;
  } catch (error) {
    for (const fd of opened) closeSync(fd);
    for (const device of lazy) closeLazyDevice(device);
    throw error;
  }
}

/** Gives it back, when no thread uses it any more. */
export function closeImageShared(shared: ImageShared): void {
  const { fds, lazy, mapFds, metaAddress, metaBytes, zeroFd, zeroRangeFd } = shared;
  for (const device of lazy) if (device !== null) closeLazyDevice(device);
  for (const fd of [...fds, ...mapFds, zeroFd]) closeSync(fd);
  if (zeroRangeFd >= 0) closeSync(zeroRangeFd);
  if (metaAddress !== 0) unmapShared(metaAddress, metaBytes);
}

/** A reader of the image, for one thread. @throws FormatError */
export function openShared({ fds, metaBytes, metaAddress }: ImageShared, verifyChecksum: boolean): ErofsReader {
  const source: ByteSource = {
    size: metaBytes,
    ...(metaAddress !== 0 && { whole: new Uint8Array(viewMemory(metaAddress, metaBytes)) }),
    read: (offset, length) => readMeta(fds[0]!, metaBytes, offset, length),
  };
  return openErofs(source, { verifyChecksum });
}

function readMeta(fd: number, size: number, offset: number, length: number): Uint8Array {
  if (!(offset >= 0 && length >= 0 && offset + length <= size)) throw outside(offset, length, size);
  const memory = allocAligned(length);
  if (check(readFully(fd, memory.address, length, offset), "pread") < length) throw new SysError("pread", "EIO", 5);
  return memory.bytes;
}

/** Every blob that the image names must be there: given, or in the image's own file. */
function checkDevices({ devices }: ErofsReader, { devicePaths, metaPath }: ImageConfig): void {
  if (devicePaths.length === devices.length) return;
  const isFlat = devicePaths.length === 0 && devices.every(({ mappedBlkAddr }) => mappedBlkAddr !== 0);
  if (!isFlat)
    throw new FormatError(
      "ERR_BAD_VALUE",
      "device table",
      0,
      `${metaPath} has ${devices.length} blobs, ${devicePaths.length} were given`,
    );
}
