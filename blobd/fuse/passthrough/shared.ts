import { closeSync, openSync } from "node:fs";
import { check, fileCalls, SysError } from "../../sys/index.ts";
import { type PassthroughConfig, settingsOf } from "./config.ts";
import { Devices, ROOT_DEVICE } from "./devices.ts";
import { HandleScratch } from "./handle.ts";
import { AT_EMPTY_PATH, O_DIRECTORY, O_PATH, O_RDONLY, STATX_MASK } from "./linux.ts";
import { Nodes } from "./nodes.ts";
import { Proc } from "./proc.ts";
import { StatScratch } from "./stat.ts";
import { createState, State } from "./state.ts";
import type { Entrance } from "./volume.ts";

/**
 * Makes what the threads of a mount share. It is a plain description, which may be posted to worker threads; they give it
 * to `openPassthrough`.
 *
 * @throws RangeError for bad options, SysError when the directory cannot be opened or file handles were demanded and
 * cannot be had.
 */
export function createPassthroughShared(config: PassthroughConfig): Entrance {
  const settings = settingsOf(config);
  const memory = createState(settings.maxNodes, settings.maxFiles);
  const procFd = openSync("/proc/self/fd", O_PATH | O_DIRECTORY);
  const mountFd = openSync(config.source, O_RDONLY | O_DIRECTORY);
  const state = new State(memory);
  const proc = new Proc(procFd);
  const [stat, handle] = [new StatScratch(), new HandleScratch()];
  const devices = new Devices(state, stat, handle, proc, settings);
  check(fileCalls().statx(mountFd, proc.empty, AT_EMPTY_PATH, STATX_MASK, stat.address), "statx", config.source);
  const { mode, inoLow, inoHigh } = stat;
  devices.set(ROOT_DEVICE, mountFd);
  if (settings.handles === "always" && !devices.usesHandles(ROOT_DEVICE)) {
    closeSync(mountFd);
    throw new SysError(
      "open_by_handle_at",
      "EOPNOTSUPP",
      95,
      config.source,
      "no file handles here, or no CAP_DAC_READ_SEARCH",
    );
  }
  const rootFd = proc.reopen(mountFd, O_PATH);
  new Nodes(state, devices, handle).addRoot(ROOT_DEVICE, inoLow, inoHigh, mode, rootFd);
  return { memory, procFd };
}
