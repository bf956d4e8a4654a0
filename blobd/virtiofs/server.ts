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
import type { GuestFile } from "./queue/index.ts";
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

/** What gives back what a server has, in the order in which it got it. */
type Held = (() => unknown)[];

/** A virtio-fs device on a vhost-user socket. */
export class VirtiofsServer {
  readonly #backend: VhostBackend;
  readonly #plane: DataPlane;
  readonly #held: Held;
  /** Of a pseudo root that this process serves: exports are added and removed here while guests use them. */
  readonly mounts: RootMounts | null;
  #closed: Promise<void> | null = null;

  private constructor(backend: VhostBackend, { plane, mounts }: Served, held: Held) {
    this.#backend = backend;
    this.#plane = plane;
    this.#held = held;
    this.mounts = mounts;
  }

  /**
   * Opens what is to be served, and the socket.
   * @throws RangeError for options that make no device, SysError or Error when something of it cannot be opened; nothing is left
   * open then
   */
  static async start(options: ServerOptions): Promise<VirtiofsServer> {
    const { device, log, socketPath } = options;
    checkOptions(device);
    const guestFiles = openGuestFiles(device.guestMemory);
    const held: Held = [() => closeGuestFiles(guestFiles)];
    try {
      const served = await (options.supervised ? serveElsewhere : serveHere)(options, guestFiles, held);
      const backend = new VhostBackend(served.description, served.plane, { log: (line) => log.info(line) });
      held.push(() => backend.close());
      if (options.connect) backend.connect(socketPath);
      else backend.listen(socketPath);
      return new VirtiofsServer(backend, served, held);
    } catch (error) {
      await giveBack(held);
      throw error;
    }
  }

  /** The process that does the work: this one, or the one that is supervised. */
  get workerPid(): number {
    return (this.#plane instanceof SupervisedDataPlane ? this.#plane.workerPid : undefined) ?? process.pid;
  }

  /** Resolves when nobody can connect any more. */
  get ended(): Promise<void> {
    return this.#backend.ended;
  }

  close(): Promise<void> {
    this.#closed ??= giveBack(this.#held);
    return this.#closed;
  }
}

async function giveBack(held: Held): Promise<void> {
  for (const give of held.reverse()) await give();
}

interface Served {
  readonly description: DeviceDescription;
  readonly plane: DataPlane;
  readonly mounts: RootMounts | null;
}

async function serveElsewhere(
  { device, standby = false, log }: ServerOptions,
  guestFiles: readonly GuestFile[],
  held: Held,
): Promise<Served> {
  const plane = new SupervisedDataPlane({ device, guestFiles, standby, log });
  held.push(() => plane.close());
  await plane.started();
  return { description: describeDevice(device, null), plane, mounts: null };
}

async function serveHere(
  { device, log }: ServerOptions,
  guestFiles: readonly GuestFile[],
  held: Held,
): Promise<Served> {
  const memoryFd = makeDeviceMemory(device.windowBytes);
  held.push(() => closeSync(memoryFd));
  const aliases = await startAliases(device, (line) => log.warn(line));
  held.push(() => aliases?.close());
  const heard = hearLog((line) => log.warn(line));
  held.push(() => heard.close());
  const { data, mounts } = openDevice(device, soleHome(memoryFd, aliases?.folderFd ?? -1, guestFiles));
  const description = describeDevice(device, data);
  const plane = new LocalDataPlane(description);
  held.push(() => plane.close());
  // Threads take long to start, and have something to do before there are queues.
  plane.prepare(description.maxQueues);
  return { description, plane, mounts };
}
