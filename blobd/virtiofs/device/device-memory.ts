import { SESSION_WORDS } from "../../fuse/index.ts";
import { mapShared, memfd, PAGE_SIZE, viewMemory } from "../../sys/index.ts";
import { WindowTable } from "../window/index.ts";

/**
 * What the threads of a device share and what outlives a process of it, in a memfd:
 *
 * ```
 *  0      the FUSE session's words
 *  4096   the window's table, when there is a window
 * ```
 */
const WINDOW_AT = PAGE_SIZE;

export interface DeviceMemory {
  /** `ServerOptions.session`. */
  readonly session: Int32Array;
  /** Where the window's table lies. */
  readonly windowAddress: number;
}

function bytesOf(windowBytes: number): number {
  return WINDOW_AT + (windowBytes === 0 ? 0 : WindowTable.bytes(windowBytes));
}

/** A new one. @returns its descriptor */
export function makeDeviceMemory(windowBytes: number): number {
  return memfd("blobd-virtiofs", bytesOf(windowBytes));
}

/** Maps it into this process, for good. */
export function mapDeviceMemory(fd: number, windowBytes: number): DeviceMemory {
  const address = mapShared(fd, 0, bytesOf(windowBytes));
  return {
    session: new Int32Array(viewMemory(address, SESSION_WORDS * 4)),
    windowAddress: address + WINDOW_AT,
  };
}
