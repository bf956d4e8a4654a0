import { decodeSetup, type RangeRequest, removeMappings } from "../dax-requests.ts";
import type { FuseRequest } from "../request.ts";
import { EINVAL, ENODEV, ESTALE, O_RDWR, S_IFREG } from "./linux.ts";
import type { Volume } from "./volume.ts";

const asked: RangeRequest = { fileOffset: 0, windowOffset: 0 };

/**
 * SETUPMAPPING. The file is named by its node: Linux gives no handle, for a mapping outlives the open file that caused
 * it. It is opened for reading and writing, whatever is asked: the VMM wants a descriptor that can write, and a mapping
 * that is asked for once more with the right to write is there already.
 */
export function setupMapping(volume: Volume, request: FuseRequest): number {
  const { window, nodes } = volume;
  if (window === undefined) return -ENODEV;
  if (!decodeSetup(request, window, asked)) return -EINVAL;
  const { fileOffset, windowOffset } = asked;
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

/** REMOVEMAPPING. */
export function removeMapping({ window }: Volume, request: FuseRequest): number {
  return window === undefined ? -ENODEV : removeMappings(request, window);
}
