/** From an image and wishes to a guest that can be started: everything is checked here, before a VMM runs. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type OpenedImage, verityRoots } from "../open/index.ts";
import { accountsOf } from "./accounts-of-image.ts";
import { VmError } from "./errors.ts";
import {
  baseInitramfs,
  enterProgram,
  type GuestSettings,
  guestProcess,
  runInitramfs,
  type Terminal,
  verityProgram,
} from "./guest/index.ts";
import { configOf } from "./image-config.ts";
import { pmemDevices, type Verification, verifyParts } from "./image-parts.ts";
import { findKernel, type GuestKernel, type KernelOptions, type Requirement, requireKernel } from "./kernel/index.ts";
import { guestMemory } from "./memory.ts";
import { makeScratch } from "./scratch.ts";
import { MAX_PMEM_DEVICES, type Machine, type PmemDevice, type VmmName } from "./vmm/index.ts";

/** What the user wishes of a guest. */
export interface GuestOptions extends KernelOptions {
  readonly vmm: VmmName;
  readonly attachment: Attachment;
  /** Replace the image's Cmd. */
  readonly args: readonly string[];
  readonly memoryBytes?: number;
  readonly cpus?: number;
  /** A base initramfs instead of the one made here (as `baseInitramfs` makes it). */
  readonly initrd?: string;
  /** The image itself is the root, nothing in it can be written. */
  readonly readOnly?: boolean;
  /** A disk of this size takes the guest's writes, instead of its memory. */
  readonly scratchBytes?: number;
  readonly verification?: Verification;
  /** Whether the guest's kernel checks every block of the image against its hash trees; without DAX then. */
  readonly verity?: boolean;
  /** What the kernel needs for devices that the caller adds to the machine. */
  readonly also?: readonly Requirement[];
}

/** How the guest is talked to. */
export type Attachment =
  /** One console, for people. */
  | { readonly kind: "serial" }
  /** Channels of a GuestSession. */
  | {
      readonly kind: "channels";
      /** A terminal for the command; without it, pipes. Rows and columns are 0 when they are not known. */
      readonly tty?: { readonly term: string; readonly rows: number; readonly columns: number };
      readonly input: boolean;
      readonly endMark: string;
    };

/** Where a guest's files go. */
export interface GuestPlaces {
  /** Files of this guest; the folder is its own. */
  readonly folder: string;
  /** Files for all guests. */
  readonly cacheDir: string;
}

/** A machine without its console: what that is is decided when it is started. */
export type MachinePlan = Omit<Machine, "console">;

const DEFAULT_CPUS = 2;
const MAX_CPUS = 255;
/** The guest's name for its only disk. */
const SCRATCH_DEVICE = "/dev/vda";

/**
 * Plans a guest for an image, and writes what it needs besides the image.
 * @throws VmError; DocumentError, FormatError when the image is not what it says.
 */
export async function planGuest(image: OpenedImage, options: GuestOptions, places: GuestPlaces): Promise<MachinePlan> {
  const { vmm, scratchBytes, readOnly = false } = options;
  const cpus = checkCpus(options.cpus);
  const kernel = findKernel(options);
  const modules = requireKernel(kernel, {
    transport: vmm === "firecracker" ? "mmio" : "pci",
    channels: options.attachment.kind === "channels",
    overlay: !readOnly,
    scratch: scratchBytes !== undefined,
    verity: options.verity ?? false,
    ...(options.also && { also: options.also }),
  });
  const command = commandOf(image, options);
  checkPartCount(image, vmm);
  await verifyParts(image, options.verification ?? "changed");
  mkdirSync(places.folder, { recursive: true, mode: 0o700 });
  const pmem = await pmemDevices(image, places.folder);
  const memoryBytes = guestMemory(options.memoryBytes, pmem);
  const run = runInitramfs({
    settings: settingsOf(image, options, pmem),
    enter: enterProgram(command, { readOnly, ...terminalOf(options.attachment) }),
    ...(options.verity && { verity: verityProgram(verityRoots(image)) }),
  });
  const initrdPath = await writeInitramfs(kernel, modules, run, options, places);
  const machine = { memoryBytes, cpus, kernelPath: kernel.imagePath, initrdPath, pmem };
  if (scratchBytes === undefined) return machine;
  const scratchPath = join(places.folder, "scratch");
  makeScratch(scratchPath, scratchBytes);
  return { ...machine, scratchPath };
}

function checkCpus(asked = DEFAULT_CPUS): number {
  if (!Number.isInteger(asked) || asked < 1 || asked > MAX_CPUS)
    throw new VmError("ERR_LIMIT", `--cpus: found ${asked}, expected 1 to ${MAX_CPUS}`);
  return asked;
}

function checkPartCount(image: OpenedImage, vmm: VmmName): void {
  const parts = 1 + image.devicePaths.length;
  if (parts <= MAX_PMEM_DEVICES[vmm]) return;
  throw new VmError(
    "ERR_LIMIT",
    `the image has ${parts} files, ${vmm} guests take ${MAX_PMEM_DEVICES[vmm]} as devices; convert it with --single`,
  );
}

function commandOf(image: OpenedImage, { attachment, args }: GuestOptions) {
  const tty = attachment.kind === "channels" ? attachment.tty : SERIAL_TTY;
  return guestProcess(configOf(image), accountsOf(image), {
    args,
    hostname: hostnameOf(image),
    ...(tty !== undefined && { term: tty.term }),
  });
}

const SERIAL_TTY = { term: "linux" } as const;

/** As docker names a container: twelve hex digits, here of the image. */
function hostnameOf(image: OpenedImage): string {
  const id = image.stored?.record.meta.digestHex ?? createHash("sha256").update(image.metaPath).digest("hex");
  return id.slice(0, 12);
}

function terminalOf(attachment: Attachment): { terminal?: Terminal } {
  if (attachment.kind === "serial") return { terminal: "console" };
  return attachment.tty === undefined ? {} : { terminal: "hvc0" };
}

function settingsOf(image: OpenedImage, options: GuestOptions, pmem: readonly PmemDevice[]): GuestSettings {
  const { attachment, scratchBytes, vmm, readOnly = false } = options;
  const common = {
    pmemSizes: pmem.map(({ sizeBytes }) => sizeBytes),
    readOnly,
    ...(scratchBytes !== undefined && { scratch: SCRATCH_DEVICE }),
    hostname: hostnameOf(image),
    halt: vmm === "firecracker" ? ("reboot" as const) : ("poweroff" as const),
  };
  if (attachment.kind === "serial") return { ...common, supervised: false, tty: true, input: true, endMark: "" };
  const { tty, input, endMark } = attachment;
  const size = tty && { rows: tty.rows, columns: tty.columns };
  return { ...common, supervised: true, tty: tty !== undefined, input, endMark, ...size };
}

/** The base and the part of this run, one after the other: the kernel unpacks both. */
async function writeInitramfs(
  kernel: GuestKernel,
  modules: readonly string[],
  run: Uint8Array,
  { initrd }: GuestOptions,
  { folder, cacheDir }: GuestPlaces,
): Promise<string> {
  const base = initrd === undefined ? await baseInitramfs(kernel, modules, cacheDir) : resolve(initrd);
  const path = join(folder, "initrd");
  writeFileSync(path, Buffer.concat([readBase(base), run]), { mode: 0o600 });
  return path;
}

function readBase(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new VmError("ERR_NO_KERNEL", `the initramfs cannot be read: ${(error as Error).message}`, error);
  }
}
