/** From an image and wishes to a guest that can be started: everything is checked here, before a VMM runs. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type ExecutionConfig, formatPlatform, type ImageConfig, parseImageConfig } from "../../formats/oci/index.ts";
import type { OpenedImage } from "../image/index.ts";
import { accountsOf } from "./accounts-of-image.ts";
import { VmError } from "./errors.ts";
import {
  baseInitramfs,
  enterProgram,
  type GuestSettings,
  guestProcess,
  runInitramfs,
  type Terminal,
} from "./guest/index.ts";
import { pmemDevices, type Verification, verifyParts } from "./image-parts.ts";
import { findKernel, type KernelOptions, requireKernel } from "./kernel/index.ts";
import { guestMemory } from "./memory.ts";
import { makeScratch } from "./scratch.ts";
import { MAX_PMEM_DEVICES, type Machine, type VmmName } from "./vmm/index.ts";

/** What the user wishes of a guest. */
export interface GuestOptions extends KernelOptions {
  /** Replace the image's Cmd. */
  readonly args: readonly string[];
  readonly memoryBytes?: number;
  readonly cpus?: number;
  /** A base initramfs instead of the one made here (as `baseInitramfs` makes it). */
  readonly initrd?: string;
  /** A disk of this size takes the guest's writes, instead of its memory. */
  readonly scratchBytes?: number;
  readonly verification?: Verification;
  readonly hostname?: string;
}

/** How the guest is talked to. */
export type Attachment =
  | { readonly kind: "serial" }
  | {
      readonly kind: "channels";
      readonly tty?: { readonly term: string; readonly rows: number; readonly columns: number };
      readonly input: boolean;
      readonly endMark: string;
    };

/** A machine without its console: that is decided when it is started. */
export type MachinePlan = Omit<Machine, "console"> & { readonly kernelVersion: string };

const DEFAULT_CPUS = 2;
const MAX_CPUS = 255;
/** The guest's name for its only disk. */
const SCRATCH_DEVICE = "/dev/vda";

/**
 * Plans a guest for an image.
 *
 * @param folder Where the files of this guest go; it belongs to the guest.
 * @param cacheDir Where files for all guests are kept.
 * @throws VmError, FormatError
 */
export async function planGuest(
  image: OpenedImage,
  vmm: VmmName,
  options: GuestOptions,
  attachment: Attachment,
  folder: string,
  cacheDir: string,
): Promise<MachinePlan> {
  const config = configOf(image);
  const kernel = findKernel(options);
  const modules = requireKernel(kernel, {
    transport: vmm === "firecracker" ? "mmio" : "pci",
    channels: vmm === "qemu",
    scratch: options.scratchBytes !== undefined,
  });
  const parts = 1 + image.devicePaths.length;
  if (parts > MAX_PMEM_DEVICES[vmm])
    throw new VmError("ERR_LIMIT", `the image has ${parts} parts, ${vmm} guests take ${MAX_PMEM_DEVICES[vmm]}`);
  await verifyParts(image, options.verification ?? "changed");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const pmem = await pmemDevices(image, folder);
  const memoryBytes = guestMemory(options.memoryBytes, pmem);
  const hostname = options.hostname ?? hostnameOf(image);
  const tty = attachment.kind === "channels" ? attachment.tty : { term: "linux" };
  const command = guestProcess(config, accountsOf(image), {
    args: options.args,
    hostname,
    ...(tty !== undefined && { term: tty.term }),
  });
  const settings: GuestSettings = {
    ...consoleSettings(attachment),
    pmemSizes: pmem.map(({ sizeBytes }) => sizeBytes),
    ...(options.scratchBytes !== undefined && { scratch: SCRATCH_DEVICE }),
    hostname,
    halt: vmm === "firecracker" ? "reboot" : "poweroff",
  };
  const base = options.initrd === undefined ? await baseInitramfs(kernel, modules, cacheDir) : resolve(options.initrd);
  const initrdPath = join(folder, "initrd");
  const run = runInitramfs(settings, enterProgram(command, terminalOf(attachment)));
  writeFileSync(initrdPath, Buffer.concat([readFileSync(base), run]), { mode: 0o600 });
  const scratchPath = join(folder, "scratch");
  if (options.scratchBytes !== undefined) makeScratch(scratchPath, options.scratchBytes);
  return {
    memoryBytes,
    cpus: cpusOf(options.cpus),
    kernelPath: kernel.imagePath,
    kernelVersion: kernel.version,
    initrdPath,
    pmem,
    ...(options.scratchBytes !== undefined && { scratchPath }),
  };
}

/** The image's config, after a check that a guest of this machine can run it. */
function configOf(image: OpenedImage): ExecutionConfig {
  if (process.arch !== "x64")
    throw new VmError("ERR_PLATFORM", `guests are made for x86-64 processors, this machine is ${process.arch}`);
  const record = image.stored?.record;
  if (record === undefined) return NO_CONFIG;
  const { platform, config }: ImageConfig = parseImageConfig(Buffer.from(JSON.stringify(record.config)));
  const fits = ["", "amd64"].includes(platform.architecture) && ["", "linux"].includes(platform.os);
  if (!fits)
    throw new VmError(
      "ERR_PLATFORM",
      `the image is for ${formatPlatform(platform)}, a guest of this machine is linux/amd64; convert it with --platform linux/amd64`,
    );
  return config;
}

/** An image that lies in files of its own comes without a config. */
const NO_CONFIG: ExecutionConfig = {
  user: "",
  workingDir: "",
  env: [],
  entrypoint: null,
  cmd: null,
  labels: {},
  exposedPorts: [],
  volumes: [],
};

/** As docker names a container: twelve hex digits, here of the image. */
function hostnameOf(image: OpenedImage): string {
  const id = image.stored?.record.meta.digestHex ?? createHash("sha256").update(image.metaPath).digest("hex");
  return id.slice(0, 12);
}

function cpusOf(asked = DEFAULT_CPUS): number {
  if (!Number.isInteger(asked) || asked < 1 || asked > MAX_CPUS)
    throw new VmError("ERR_LIMIT", `--cpus: found ${asked}, expected 1 to ${MAX_CPUS}`);
  return asked;
}

function terminalOf(attachment: Attachment): Terminal | undefined {
  if (attachment.kind === "serial") return "console";
  return attachment.tty === undefined ? undefined : "hvc0";
}

function consoleSettings(attachment: Attachment) {
  if (attachment.kind === "serial") return { supervised: false, tty: true, input: true, endMark: "" };
  const { tty, input, endMark } = attachment;
  const size = tty && { rows: tty.rows, columns: tty.columns };
  return { supervised: true, tty: tty !== undefined, input, endMark, ...size };
}
