import { FormatError, getU53 } from "../../../formats/bytes/index.ts";
import { RemovemappingIn, RemovemappingOne, SetupmappingIn } from "../../../formats/fuse/index.ts";
import { RANGE_BYTES } from "../dax-window.ts";
import { type FuseRequest, IN_ARGS } from "../request.ts";
import { EINVAL, ENODEV, ESTALE, O_RDWR, S_IFREG } from "./linux.ts";
import type { Volume } from "./volume.ts";

/**
 * SETUPMAPPING. The file is named by its node: Linux gives no handle, for a mapping outlives the open file that caused
 * it. It is opened for reading and writing, whatever is asked: the VMM wants a descriptor that can write, and a mapping
 * that is asked for once more with the right to write is there already.
 */
export function setupMapping(volume: Volume, request: FuseRequest): number {
  const { in: dv } = request;
  const { window, nodes } = volume;
  if (window === undefined) return -ENODEV;
  const fileOffset = getU53(dv, IN_ARGS + SetupmappingIn.at.foffset, "fuse_setupmapping_in.foffset");
  const length = getU53(dv, IN_ARGS + SetupmappingIn.at.len, "fuse_setupmapping_in.len");
  const windowOffset = getU53(dv, IN_ARGS + SetupmappingIn.at.moffset, "fuse_setupmapping_in.moffset");
  const isOfRange = fileOffset % RANGE_BYTES === 0 && windowOffset % RANGE_BYTES === 0 && length <= RANGE_BYTES;
  if (!isOfRange || windowOffset + RANGE_BYTES > window.bytes) return -EINVAL;
  const slot = nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  let status: number = -EINVAL;
  if (nodes.typeOf(slot) === S_IFREG) {
    const fd = volume.open(slot, O_RDWR);
    status = fd < 0 ? fd : mapLocked(volume, slot, fd, fileOffset, windowOffset);
  }
  nodes.unpin(slot);
  return status;
}

/** FileSystem.openMapped: a file that was mapped by a process that is dead. */
export function openMapped(volume: Volume, nodeId: number): number {
  const slot = volume.nodes.pin(nodeId);
  if (slot === 0) return -ESTALE;
  const fd = volume.open(slot, O_RDWR);
  volume.nodes.unpin(slot);
  return fd;
}

/** Maps it while nobody changes its size, see resizing. */
function mapLocked(volume: Volume, slot: number, fd: number, fileOffset: number, windowOffset: number): number {
  const { nodes, state, window } = volume;
  state.resizing.lock();
  try {
    // Before the window reads the file's size: from here on whoever makes it grow tells the window.
    nodes.setMapped(slot);
    return window!.map(nodes.idOf(slot), fd, fileOffset, windowOffset);
  } finally {
    state.resizing.unlock();
  }
}

/** REMOVEMAPPING: any number of ranges. */
export function removeMapping(volume: Volume, request: FuseRequest): number {
  const { in: dv } = request;
  const { window } = volume;
  if (window === undefined) return -ENODEV;
  const count = dv.getUint32(IN_ARGS + RemovemappingIn.at.count, true);
  const start = IN_ARGS + RemovemappingIn.size;
  if (count * RemovemappingOne.size > request.extensionsAt - start)
    throw new FormatError(
      "ERR_BAD_VALUE",
      "fuse_removemapping_in.count",
      IN_ARGS,
      `found ${count} in ${request.extensionsAt - start} bytes`,
    );
  for (let at = start, left = count; left > 0; left--, at += RemovemappingOne.size) {
    const offset = getU53(dv, at + RemovemappingOne.at.moffset, "fuse_removemapping_one.moffset");
    const length = getU53(dv, at + RemovemappingOne.at.len, "fuse_removemapping_one.len");
    if (offset + length > window.bytes) return -EINVAL;
    const status = window.remove(offset, length);
    if (status < 0) return status;
  }
  return 0;
}
