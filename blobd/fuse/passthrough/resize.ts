import type { Volume } from "./volume.ts";

/**
 * Has a pinned file cut or extended. What is cut away is unmapped before, so that nobody meets a page without a file; what
 * is added is mapped when it is there. No mapping is made meanwhile, which would be as long as the file was before.
 *
 * @param change makes the file `size` bytes long; answers 0, a descriptor, or a negative error number
 * @returns what `change` does; or a negative error number when the mapping cannot follow
 */
export function resizing(volume: Volume, slot: number, size: number, change: () => number): number {
  const { window, nodes, state } = volume;
  if (window === undefined) return change();
  state.resizing.lock();
  try {
    if (!nodes.isMapped(slot)) return change();
    const shrunk = window.shrink(nodes.idOf(slot), size);
    const result = shrunk < 0 ? shrunk : change();
    const grown = growToSize(volume, slot);
    if (result < 0 || grown === 0) return result;
    if (result > 0) volume.calls.close(result);
    return grown;
  } finally {
    state.resizing.unlock();
  }
}

/** Also when the file was not cut after all. @returns 0 or a negative error number */
function growToSize(volume: Volume, slot: number): number {
  const fd = volume.nodes.fdOf(slot);
  const status = fd < 0 ? fd : volume.statOf(fd);
  return status < 0 ? status : volume.window!.grow(volume.nodes.idOf(slot), volume.stat.size);
}
