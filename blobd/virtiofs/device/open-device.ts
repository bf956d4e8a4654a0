import type { Inheritance } from "../../fuse/passthrough/index.ts";
import { createServed, type RootMounts } from "../../fuse/root/index.ts";
import { Aliases } from "../alias/index.ts";
import type { GuestFile } from "../queue/index.ts";
import { WindowTable } from "../window/index.ts";
import { mapDeviceMemory } from "./device-memory.ts";
import { checkOptions, type VirtiofsOptions } from "./options.ts";
import type { WorkerData } from "./queue-program.ts";

/** What a process that serves a device has of whoever started it. */
export interface DeviceHome {
  /** The device's memory: makeDeviceMemory. */
  readonly memoryFd: number;
  /** The folder of aliases; -1 for none. */
  readonly aliasFolderFd: number;
  /** Memory of the guest that is files of the host: openGuestFiles. */
  readonly guestFiles: readonly GuestFile[];
  /** Another process has served it before, and is dead. */
  readonly takesOver: boolean;
  /** The volume's memory, of which that process had a copy held; -1 for none. It is this process's. */
  readonly volumeFd: number;
  /** Files without a name that were held, by their handles. They are this process's. */
  readonly files: ReadonlyMap<number, number>;
  /** The socket into which such files go now (HoldReceiver); -1 for none. */
  readonly holdFd: number;
  /** Holds the volume's memory for a process to come: a copy of the descriptor. */
  holdVolume(fd: number): void;
}

/** A home for a device whose process takes everything with it. */
export function soleHome(memoryFd: number, aliasFolderFd: number, guestFiles: readonly GuestFile[]): DeviceHome {
  const nothing = {
    takesOver: false,
    volumeFd: -1,
    files: new Map<number, number>(),
    holdFd: -1,
    holdVolume: () => {},
  };
  return { memoryFd, aliasFolderFd, guestFiles, ...nothing };
}

/** Aliases for a device with a window, if they can be had; without them QEMU maps files of whole pages only. */
export async function startAliases(
  { windowBytes }: VirtiofsOptions,
  log: (line: string) => void,
): Promise<Aliases | null> {
  if (windowBytes === 0) return null;
  try {
    return await Aliases.start(log);
  } catch (error) {
    log(
      `no FUSE mount for aliases, so QEMU will not map a file's last page unless it is whole: ${(error as Error).message}`,
    );
    return null;
  }
}

export interface OpenedDevice {
  /** For its threads. */
  readonly data: WorkerData;
  /** Of a pseudo root: to add and remove what is served. */
  readonly mounts: RootMounts | null;
}

/**
 * Opens what a device serves, in the process that serves it.
 * @throws RangeError for options that make no device, SysError when the directory cannot be opened
 */
export function openDevice(options: VirtiofsOptions, home: DeviceHome): OpenedDevice {
  checkOptions(options);
  if (home.takesOver && options.windowBytes > 0) {
    const { windowAddress } = mapDeviceMemory(home.memoryFd, options.windowBytes);
    new WindowTable(windowAddress, options.windowBytes).recover();
  }
  const { shared: volume, mounts } = createServed(options.volume, inheritanceOf(home));
  // Of what is read only, nothing has to outlive a process.
  if (!home.takesOver && volume.kind === "directory") home.holdVolume(volume.shared.memory.fd);
  const { memoryFd, aliasFolderFd, holdFd, guestFiles, takesOver } = home;
  return { mounts, data: { options, memoryFd, volume, aliasFolderFd, holdFd, guestFiles, takesOver } };
}

function inheritanceOf({ takesOver, volumeFd, files }: DeviceHome): Inheritance | undefined {
  return takesOver && volumeFd >= 0 ? { memoryFd: volumeFd, files } : undefined;
}
