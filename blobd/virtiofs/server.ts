import { closeSync } from "node:fs";
import type { RootMounts } from "../fuse/root/index.ts";
import { type DataPlane, type DeviceDescription, LocalDataPlane, VhostBackend } from "../vhost/index.ts";
import {
  checkOptions,
  closeGuestFiles,
  describeDevice,
  hearLog,
  makeDeviceMemory,
  openDevice,
  openGuestFiles,
  soleHome,
  startAliases,
  type VirtiofsOptions,
} from "./device/index.ts";
import { SupervisedDataPlane } from "./supervise/index.ts";

export interface ServerOptions {
  readonly device: VirtiofsOptions;
  /** Where the VMM connects, or listens when `connect` is set. */
  readonly socketPath: string;
  readonly connect?: boolean;
  /** The work is done by another process, whose death the guest survives. */
  readonly supervised?: boolean;
  /** With `supervised`: keeps a second process ready. */
  readonly standby?: boolean;
  readonly log: { info(line: string): void; warn(line: string): void };
}

/** A virtio-fs device on a vhost-user socket. */
export class VirtiofsServer {
  readonly #backend: VhostBackend;
  readonly #plane: DataPlane;
  readonly #release: () => Promise<void>;
  /** Of a pseudo root that this process serves: exports are added and removed here while guests use them. */
  readonly mounts: RootMounts | null;

  private constructor(
    device: DeviceDescription,
    plane: DataPlane,
    options: ServerOptions,
    release: () => Promise<void>,
    mounts: RootMounts | null = null,
  ) {
    this.mounts = mounts;
    this.#plane = plane;
    this.#release = release;
    this.#backend = new VhostBackend(device, plane, { log: (line) => options.log.info(line) });
    if (options.connect) this.#backend.connect(options.socketPath);
    else this.#backend.listen(options.socketPath);
  }

  /**
   * Opens what is to be served, and the socket.
   * @throws RangeError for options that make no device, SysError or Error when something of it cannot be opened
   */
  static async start(options: ServerOptions): Promise<VirtiofsServer> {
    const { device, log } = options;
    checkOptions(device);
    const guestFiles = openGuestFiles(device.guestMemory);
    if (options.supervised) {
      const plane = new SupervisedDataPlane({ device, guestFiles, standby: options.standby ?? false, log });
      await plane.started();
      return new VirtiofsServer(describeDevice(device, null), plane, options, async () => closeGuestFiles(guestFiles));
    }
    const memoryFd = makeDeviceMemory(device.windowBytes);
    const aliases = await startAliases(device, (line) => log.warn(line));
    const heard = hearLog((line) => log.warn(line));
    const { data, mounts } = openDevice(device, soleHome(memoryFd, aliases?.folderFd ?? -1, guestFiles));
    const description = describeDevice(device, data);
    const release = async () => {
      heard.close();
      closeSync(memoryFd);
      closeGuestFiles(guestFiles);
      await aliases?.close();
    };
    const plane = new LocalDataPlane(description);
    // Threads take long to start, and have something to do before there are queues.
    plane.prepare(description.maxQueues);
    return new VirtiofsServer(description, plane, options, release, mounts);
  }

  /** The process that does the work: this one, or the one that is supervised. */
  get workerPid(): number {
    return (this.#plane instanceof SupervisedDataPlane ? this.#plane.workerPid : undefined) ?? process.pid;
  }

  /** Resolves when nobody can connect any more. */
  get ended(): Promise<void> {
    return this.#backend.ended;
  }

  async close(): Promise<void> {
    await this.#backend.close();
    await this.#release();
  }
}
