import { randomBytes } from "node:crypto";
import { fstatSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import type { OpenedImage } from "../../open/index.ts";
import {
  type Accelerator,
  type Attachment,
  defaultCacheDir,
  findAccelerator,
  findQemu,
  formatCommand,
  type GuestOptions,
  GuestSession,
  MAX_PMEM_DEVICES,
  type MachinePlan,
  makeGuestFolder,
  planGuest,
  printedGuestFolder,
  qemuArgs,
  type Timeline,
} from "../../vm/index.ts";
import { exitCodeOf, reportError, UsageError } from "../exit.ts";
import { makeRaw } from "../ui/raw-terminal.ts";
import { formatBytes, formatSeconds, parseBytes } from "../ui/units.ts";
import { type AcquireOptions, fitToDevices, openOrConvert } from "./acquire.ts";

/** Options that say what the guest is like. */
export interface GuestCommandOptions extends AcquireOptions {
  readonly memory?: string;
  readonly cpus?: string;
  readonly kernel?: string;
  readonly modules?: string;
  readonly initrd?: string;
  readonly rwSize?: string;
  readonly readOnly?: boolean;
  readonly verify?: boolean;
}

export interface RunCommandOptions extends GuestCommandOptions {
  readonly qemu?: string;
  readonly accel?: string;
  readonly timeout?: string;
  readonly tty?: boolean;
  readonly print?: boolean;
  readonly timings?: boolean;
  /** Where a list of what the guest reads first goes. */
  readonly record?: string;
}

/** As docker has it: the guest's command did not come to run. */
const NOT_STARTED = 125;

export async function run(target: string, args: readonly string[], options: RunCommandOptions): Promise<void> {
  const startMs = performance.now();
  if (options.record !== undefined && (!options.lazy || options.print))
    throw new UsageError("--record needs --lazy, and a guest that runs");
  try {
    const wishes = { ...options, isRecorded: options.record !== undefined };
    const image = await fitToDevices(await openOrConvert(target, wishes), MAX_PMEM_DEVICES.qemu, "QEMU", options);
    if (options.print) await print(image, args, options);
    else process.exitCode = await boot(image, args, options, startMs);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    reportError(error);
    process.exitCode = exitCodeOf(error) === 130 ? 130 : NOT_STARTED;
  }
}

/** Prints the command of a guest whose console is the terminal it is started from. */
async function print(image: OpenedImage, args: readonly string[], options: RunCommandOptions): Promise<void> {
  const cacheDir = defaultCacheDir();
  try {
    const folder = printedGuestFolder(cacheDir, image.metaPath);
    const wishes = { ...guestOptions(args, options), vmm: "qemu", attachment: { kind: "serial" } } as const;
    const plan = await planGuest(image, wishes, { folder, cacheDir });
    const qemu = findQemu(options.qemu);
    const accelerator = await acceleratorOf(options, qemu, plan, cacheDir);
    process.stdout.write(formatCommand(qemu, qemuArgs({ ...plan, console: { kind: "serial" } }, accelerator)));
  } finally {
    image.close();
  }
}

async function boot(
  image: OpenedImage,
  args: readonly string[],
  options: RunCommandOptions,
  startMs: number,
): Promise<number> {
  const cacheDir = defaultCacheDir();
  const folder = makeGuestFolder(cacheDir);
  const letGo = () => {
    image.close();
    rmSync(folder, { recursive: true, force: true });
  };
  let held = true;
  try {
    const qemu = findQemu(options.qemu);
    const attachment = attachmentOf(options);
    const wishes = { ...guestOptions(args, options), vmm: "qemu", attachment } as const;
    const plan = await planGuest(image, wishes, { folder, cacheDir });
    const accelerator = await acceleratorOf(options, qemu, plan, cacheDir);
    const preparedMs = performance.now() - startMs;
    const session = startSession(qemu, accelerator, plan, attachment, options);
    const detach = attach(session, attachment);
    try {
      await session.booted;
      // QEMU has all files open and mapped now: a prune may take the names away, and the folder can go.
      letGo();
      held = false;
      const { status, timeline } = await session.outcome;
      if (options.timings)
        process.stderr.write(timingsText(preparedMs, timeline, accelerator) + (await fetchedText(image)));
      if (options.record !== undefined) await writeTrace(image, options.record);
      return status;
    } finally {
      detach();
    }
  } finally {
    if (held) letGo();
  }
}

async function writeTrace({ trace }: OpenedImage, path: string): Promise<void> {
  if (trace === undefined) return;
  const { formatPrefetchList } = await import("../../../formats/oci/index.ts");
  writeFileSync(path, `${formatPrefetchList(await trace())}\n`);
}

async function fetchedText(image: OpenedImage): Promise<string> {
  const fetched = await image.fetched?.();
  return fetched === undefined
    ? ""
    : `erofsify: fetched ${formatBytes(fetched.storedBytes)} in ${fetched.chunks} chunks\n`;
}

/** What the command line says, as the guest's options. */
export function guestOptions(
  args: readonly string[],
  options: GuestCommandOptions,
): Omit<GuestOptions, "vmm" | "attachment"> {
  if (options.readOnly && options.rwSize !== undefined)
    throw new UsageError("--read-only and --rw-size exclude each other");
  return {
    args,
    ...(options.memory !== undefined && { memoryBytes: parseBytes(options.memory, "--memory") }),
    ...(options.cpus !== undefined && { cpus: Number(options.cpus) }),
    ...(options.kernel !== undefined && { kernel: options.kernel }),
    ...(options.modules !== undefined && { modules: options.modules }),
    ...(options.initrd !== undefined && { initrd: options.initrd }),
    ...(options.rwSize !== undefined && { scratchBytes: parseBytes(options.rwSize, "--rw-size") }),
    ...(options.readOnly && { readOnly: true }),
    ...(options.verity && { verity: true }),
    verification: options.verify ? "all" : "changed",
  };
}

async function acceleratorOf(
  options: RunCommandOptions,
  qemu: string,
  plan: MachinePlan,
  cacheDir: string,
): Promise<Accelerator> {
  const { accel = "auto" } = options;
  if (accel === "kvm" || accel === "tcg") return accel;
  if (accel !== "auto") throw new UsageError(`--accel ${accel}: expected auto, kvm or tcg`);
  return findAccelerator(qemu, plan.kernelPath, cacheDir);
}

/** A terminal when we are on one, as `docker run -it`; else pipes, as `docker run -i`. */
function attachmentOf(options: RunCommandOptions): Attachment & { kind: "channels" } {
  const { stdin, stdout, env } = process;
  const endMark = randomBytes(16).toString("hex");
  const isTerminal = options.tty !== false && stdin.isTTY && stdout.isTTY;
  if (!isTerminal) return { kind: "channels", input: hasInput(), endMark };
  const tty = { term: env.TERM ?? "linux", rows: stdout.rows, columns: stdout.columns };
  return { kind: "channels", tty, input: true, endMark };
}

/** Whether standard input is anything but /dev/null or closed. */
function hasInput(): boolean {
  const DEV_NULL = (1 << 8) | 3;
  try {
    const found = fstatSync(0);
    return !(found.isCharacterDevice() && found.rdev === DEV_NULL);
  } catch {
    return false;
  }
}

function startSession(
  qemu: string,
  accelerator: Accelerator,
  plan: MachinePlan,
  attachment: Attachment & { kind: "channels" },
  options: RunCommandOptions,
): GuestSession {
  const { tty, input, endMark } = attachment;
  return new GuestSession({
    vmm: qemu,
    args: (channels) => qemuArgs({ ...plan, console: { kind: "channels", ...channels } }, accelerator),
    tty: tty !== undefined,
    io: { stdout: process.stdout, stderr: process.stderr, ...(input && { stdin: process.stdin }) },
    endMark,
    ...(options.timeout !== undefined && { timeoutMs: parseTimeout(options.timeout) }),
  });
}

/** Seconds, with an s or without. */
function parseTimeout(value: string): number {
  const seconds = /^(\d+(?:\.\d+)?)s?$/.exec(value)?.[1];
  if (seconds === undefined) throw new UsageError(`--timeout ${value}: expected seconds`);
  return Number(seconds) * 1000;
}

/** Signals and the terminal's changes go to the guest until the returned function is called. */
function attach(session: GuestSession, { tty }: Attachment & { kind: "channels" }): () => void {
  const { stdin, stdout } = process;
  const forward = (signal: NodeJS.Signals) => session.forward(constants.signals[signal]);
  const resize = () => session.resize(stdout.rows, stdout.columns);
  for (const signal of FORWARDED) process.on(signal, forward);
  const restore = tty && makeRaw();
  if (tty !== undefined) stdout.on("resize", resize);
  return () => {
    for (const signal of FORWARDED) process.off(signal, forward);
    stdout.off("resize", resize);
    restore?.();
    // Nobody reads it any more, and waiting input must not keep this process.
    if (stdin.readableFlowing !== null) stdin.destroy();
  };
}

const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

function timingsText(preparedMs: number, timeline: Timeline, accelerator: Accelerator): string {
  const { vmmMs, kernelMs, mountsMs, commandMs } = timeline.split();
  const seconds = (ms: number) => formatSeconds(ms / 1000);
  const total = preparedMs + vmmMs + kernelMs + mountsMs + commandMs;
  return (
    `erofsify: first output after ${seconds(total)}: erofsify ${seconds(preparedMs)}, QEMU (${accelerator}) ${seconds(vmmMs)}, ` +
    `kernel ${seconds(kernelMs)}, mounts ${seconds(mountsMs)}, command ${seconds(commandMs)}\n`
  );
}
