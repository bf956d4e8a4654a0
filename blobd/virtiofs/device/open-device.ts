import { createPassthroughShared, type Inheritance } from "../../fuse/passthrough/index.ts";
import { WindowTable } from "../window/index.ts";
import { mapDeviceMemory } from "./device-memory.ts";
import { checkOptions, type VirtiofsOptions } from "./options.ts";
import type { WorkerData } from "./queue-program.ts";

/** What a process that serves a device has of whoever started it. */
export interface DeviceHome {
  /** The device's memory: makeDeviceMemory. */
  readonly memoryFd: number;
  /** Another process has served it before, and is dead. */
  readonly takesOver: boolean;
  /** Descriptors that were held since then, by name. They are this process's. */
  readonly held: ReadonlyMap<string, number>;
  /** Holds a descriptor for a process to come: a copy of it. */
  hold(name: string, fd: number): void;
  release(name: string): void;
}

/** A home for a device whose process takes everything with it. */
export function soleHome(memoryFd: number): DeviceHome {
  return { memoryFd, takesOver: false, held: new Map(), hold: () => {}, release: () => {} };
}

/**
 * Opens what a device serves, in the process that serves it.
 * @throws RangeError for options that make no device, SysError when the directory cannot be opened
 */
export function openDevice(options: VirtiofsOptions, home: DeviceHome): WorkerData {
  checkOptions(options);
  if (home.takesOver && options.windowBytes > 0) {
    const { windowAddress } = mapDeviceMemory(home.memoryFd, options.windowBytes);
    new WindowTable(windowAddress, options.windowBytes).recover();
  }
  const volume = createPassthroughShared(options.volume, inheritanceOf(home));
  if (!home.takesOver) home.hold(VOLUME, volume.memory.fd);
  return { options, memoryFd: home.memoryFd, volume };
}

/** Names under which descriptors are held: the volume's memory, and files without a name, by their handles. */
const VOLUME = "volume";
const FILE = "file ";

function inheritanceOf({ takesOver, held }: DeviceHome): Inheritance | undefined {
  const memoryFd = held.get(VOLUME);
  if (!takesOver || memoryFd === undefined) return undefined;
  const files = [...held].filter(([name]) => name.startsWith(FILE));
  return { memoryFd, files: new Map(files.map(([name, fd]) => [Number(name.slice(FILE.length)), fd])) };
}
