import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Server, startServer } from "../testkit/index.ts";
import type { Requirement } from "../vm/index.ts";

/** What a guest's kernel needs for volumes. */
export const VIRTIO_FS: Requirement = { option: "VIRTIO_FS", module: "virtiofs", why: "a volume" };

/** What loop devices need. */
export const LOOP: Requirement = { option: "BLK_DEV_LOOP", module: "loop", why: "files as block devices" };

/** A folder of the host, served to one guest. */
export interface Volume {
  readonly socketPath: string;
  /** QEMU's options for the device. */
  readonly devices: readonly string[];
  /** Command in the guest that mounts it on a folder. */
  mount(target: string): string;
  /** Processes that serve it, now. */
  pids(): number[];
  /** What the server has logged of late. */
  log(): string;
  stop(): Promise<void>;
}

/** Who serves a volume, through which device, and how the guest mounts it. */
export interface VolumeKind {
  readonly server: "virtiofsd" | "blobd";
  /** QEMU's own virtio-fs device, or the one that takes any device from its server, a DAX window too. */
  readonly device: "vhost-user-fs-pci" | "vhost-user-test-device-pci";
  /** Options of the server besides socket, folder and tag. */
  readonly serverOptions: readonly string[];
  /** Options of mount(8), such as `dax=always`. */
  readonly mountOptions?: string;
}

export interface VolumePlace {
  /** The folder that is served. */
  readonly folder: string;
  /** For the socket; `name` tells volumes in it apart. */
  readonly work: string;
  readonly name: string;
}

// This file is dist/builder/guestkit/volume.js when it runs.
const RUN_IN_LAB = fileURLToPath(new URL("../../../samples/lab/run-in-lab.sh", import.meta.url));
const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));
const VIRTIOFSD = "/usr/libexec/virtiofsd";
/** Length of a virtqueue, as virtiofsd and QEMU's own device have it at most. */
const QUEUE_LENGTH = 1024;
/** `struct virtio_fs_config` with its third field. */
const CONFIG_BYTES = 44;
const VIRTIO_ID_FS = 26;
/** So much of a server's log is kept. */
const LOG_BYTES = 64 << 10;

/** Starts the server of a volume. */
export async function startVolume(kind: VolumeKind, place: VolumePlace): Promise<Volume> {
  const { name } = place;
  const socket = join(place.work, `${name}.sock`);
  const server = await (kind.server === "virtiofsd" ? startVirtiofsd : startBlobd)(kind.serverOptions, place, socket);
  let log = "";
  server.child.stderr!.on("data", (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-LOG_BYTES);
  });
  const options = kind.mountOptions === undefined ? "" : `-o ${kind.mountOptions} `;
  return {
    socketPath: socket,
    devices: ["-chardev", `socket,id=${name},path=${socket}`, "-device", deviceOf(kind, name)],
    mount: (target) => `mount -t virtiofs ${options}${name} ${target}`,
    pids: () => descendants(server.child.pid!),
    log: () => log,
    stop: () => server.stop(),
  };
}

function deviceOf({ device }: VolumeKind, name: string): string {
  return device === "vhost-user-fs-pci"
    ? `${device},chardev=${name},tag=${name},queue-size=${QUEUE_LENGTH}`
    : `${device},chardev=${name},virtio-id=${VIRTIO_ID_FS},num_vqs=2,config_size=${CONFIG_BYTES},vq_size=${QUEUE_LENGTH}`;
}

/** virtiofsd of the lab. It is in the root of a mount namespace, so it can use file handles when the options say so. */
async function startVirtiofsd(
  options: readonly string[],
  { folder, work }: VolumePlace,
  socket: string,
): Promise<Server> {
  const daemon = [VIRTIOFSD, `--socket-path=${socket}`, `--shared-dir=${folder}`, "--sandbox=none", ...options];
  const binds = ["--bind", work, "--bind", folder];
  return startServer(RUN_IN_LAB, [...binds, "--", ...daemon], /Waiting for vhost-user socket/);
}

async function startBlobd(options: readonly string[], { folder, name }: VolumePlace, socket: string): Promise<Server> {
  const args = ["virtiofs", "--socket-path", socket, "--shared-dir", folder, "--tag", name, ...options];
  return startServer(process.execPath, ["--enable-source-maps", BLOBD, ...args], /listening|waiting/i);
}

/** A process and all below it. */
function descendants(pid: number): number[] {
  const path = `/proc/${pid}/task`;
  if (!existsSync(path)) return [];
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  return [pid, ...children.flatMap(descendants)];
}
