import { closeSync, openSync } from "node:fs";
import { check, fileCalls, SysError, unmapShared } from "../../sys/index.ts";
import { Caller } from "./caller.ts";
import { type PassthroughConfig, type Settings, settingsOf } from "./config.ts";
import { ROOT_DEVICE } from "./devices.ts";
import { raiseFileLimit } from "./file-limit.ts";
import { FileKind } from "./files.ts";
import { AT_EMPTY_PATH, O_DIRECTORY, O_PATH, O_RDONLY, STATX_MASK } from "./linux.ts";
import { ROOT_SLOT } from "./nodes.ts";
import { createState, reopenState } from "./state.ts";
import { type Entrance, Volume } from "./volume.ts";

/** What is left of a process that served the mount before. */
export interface Inheritance {
  /** The memory: `PassthroughShared.memory.fd`, which somebody kept open. */
  readonly memoryFd: number;
  /** Descriptors of files without a name that somebody kept (see PassthroughHooks), by file handle. */
  readonly files?: ReadonlyMap<number, number>;
}

/**
 * Makes what the threads of a mount share: a plain description, which may be posted to worker threads; they give it to
 * `openPassthrough`.
 *
 * With an inheritance the mount goes on where another process left it: files held by handles are known as before, open
 * files are opened again. Files held by descriptors, and those open without a name that nobody kept, are gone: ESTALE,
 * EBADF. Locks on the host are gone too.
 *
 * @throws RangeError for bad options, and when the memory is that of another mount; SysError when the directory cannot be
 * opened, or file handles were demanded and cannot be had.
 */
export function createPassthroughShared(config: PassthroughConfig, inherited?: Inheritance): Entrance {
  const settings = settingsOf(config);
  const limit = raiseFileLimit();
  const { maxNodes, maxFiles } = settings;
  const mountFd = openSync(config.source, O_RDONLY | O_DIRECTORY);
  const memory =
    inherited === undefined ? createState(maxNodes, maxFiles) : reopenState(inherited.memoryFd, maxNodes, maxFiles);
  const entrance = { memory, mountFd, procFd: openSync("/proc/self/fd", O_PATH | O_DIRECTORY) };
  const volume = new Volume(settings, entrance, new Caller(settings), undefined);
  try {
    if (inherited === undefined) start(volume, config.source, settings, mountFd, limit);
    else goOn(volume, config.source, inherited, mountFd, limit);
  } catch (error) {
    closeSync(mountFd);
    closeSync(entrance.procFd);
    throw error;
  }
  return entrance;
}

function start(
  { state, nodes, devices, proc, stat }: Volume,
  source: string,
  settings: Settings,
  mountFd: number,
  limit: number,
): void {
  check(fileCalls().statx(mountFd, proc.empty, AT_EMPTY_PATH, STATX_MASK, stat.address), "statx", source);
  const { mode, inoLow, inoHigh } = stat;
  // The root is one.
  state.setDescriptors(1, limit);
  devices.set(ROOT_DEVICE, mountFd);
  if (settings.handles === "always" && !devices.usesHandles(ROOT_DEVICE))
    throw new SysError(
      "open_by_handle_at",
      "EOPNOTSUPP",
      95,
      source,
      "no file handles here, or no CAP_DAC_READ_SEARCH",
    );
  nodes.addRoot(ROOT_DEVICE, inoLow, inoHigh, mode, check(proc.reopen(mountFd, O_PATH), "open", source));
}

function goOn(volume: Volume, source: string, inherited: Inheritance, mountFd: number, limit: number): void {
  const { state, nodes, devices, files, proc, stat } = volume;
  state.mutex.reset();
  state.resizing.reset();
  check(fileCalls().statx(mountFd, proc.empty, AT_EMPTY_PATH, STATX_MASK, stat.address), "statx", source);
  if (!nodes.isInode(ROOT_SLOT, ROOT_DEVICE, stat.inoLow, stat.inoHigh) || !devices.recover(mountFd))
    throw new RangeError(`${source} is not the directory that was served before`);
  const held = nodes.recover(check(proc.reopen(mountFd, O_PATH), "open", source));
  files.recover((kind, fh, nodeId, flags) => {
    const kept = inherited.files?.get(fh);
    if (kept !== undefined) return kept;
    const slot = kind === FileKind.LOCK ? 0 : nodes.pin(nodeId);
    if (slot === 0) return -1;
    const fd = volume.open(slot, kind === FileKind.DIRECTORY ? O_RDONLY | O_DIRECTORY : flags);
    nodes.unpin(slot);
    return fd;
  });
  state.setDescriptors(held + files.count, limit);
}

/** Ends it all, when no thread uses it any more: every descriptor is closed, and the memory given back. */
export function closePassthroughShared(config: PassthroughConfig, shared: Entrance): void {
  const settings = settingsOf(config);
  const volume = new Volume(settings, shared, new Caller(settings), undefined);
  volume.files.releaseAll();
  volume.nodes.forgetAll();
  volume.nodes.closeRoot();
  volume.devices.closeAll();
  closeSync(shared.procFd);
  closeSync(shared.memory.fd);
  unmapShared(shared.memory.address, shared.memory.bytes);
}
