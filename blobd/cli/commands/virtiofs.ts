import { resolve } from "node:path";
import type { ExportConfig } from "../../fuse/exports/index.ts";
import type { RootMount, ServedConfig } from "../../fuse/root/index.ts";
import { blobEntries, findImageFiles } from "../../images/index.ts";
import { defaultStoreRoot } from "../../store/index.ts";
import {
  type GuestMemoryFile,
  MAX_QUEUES,
  qemuLines,
  type VirtiofsOptions,
  VirtiofsServer,
} from "../../virtiofs/index.ts";
import { UsageError } from "../exit.ts";
import { folder } from "../folder.ts";
import { createLogger } from "../logger.ts";
import { parseBytes, parseCount } from "../numbers.ts";
import { type PassthroughOptions, passthroughConfig } from "../passthrough-options.ts";
import { serveGuest } from "../serve-guest.ts";

export interface VirtiofsCommandOptions extends PassthroughOptions {
  readonly socketPath: string;
  readonly sharedDir?: string;
  readonly image?: string;
  readonly blobs?: string;
  readonly store?: string;
  readonly blobFolder: readonly string[];
  readonly mount: readonly string[];
  readonly tag: string;
  readonly queues: string;
  readonly dax: "never" | "inode" | "always";
  readonly daxWindow: string;
  readonly daxThreshold?: string;
  readonly daxReadOnlyTrusted?: boolean;
  readonly guestMemory: readonly string[];
  readonly connect?: boolean;
  readonly supervised?: boolean;
  readonly standby: boolean;
  readonly printQemu?: boolean;
  readonly logLevel: string;
  readonly json?: boolean;
}

/** Memory of the guest in the lines that --print-qemu prints. */
const EXAMPLE_MEMORY = "2G";

/** `blobd virtiofs`: a directory of this host, for one guest. */
export async function run(options: VirtiofsCommandOptions): Promise<void> {
  const { volume, source, close } = await servedBy(options);
  const device = deviceOf(options, volume);
  if (options.printQemu) return printQemu(device, options.socketPath);
  const logger = createLogger(options.logLevel);
  // Modes of new files come from the guest, less the umask there.
  process.umask(0);
  const server = await VirtiofsServer.start({
    device,
    socketPath: options.socketPath,
    connect: options.connect ?? false,
    supervised: options.supervised ?? false,
    standby: options.standby,
    log: { info: (line) => logger.info(line), warn: (line) => logger.warn(line) },
  });
  close();
  const { socketPath } = options;
  logger.info({ ...device, socketPath, supervised: options.supervised ?? false }, "serving");
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ socketPath, source, tag: device.tag, pid: process.pid, workerPid: server.workerPid })}\n`
      : `${socketPath}: ${source}, ${options.connect ? "connecting" : "listening"}\n`,
  );
  await serveGuest(server, logger);
}

/** What is served, and what it is called; files of the store are held until `close`. */
interface Served {
  readonly volume: ServedConfig;
  readonly source: string;
  close(): void;
}

type Kind = "dir" | "image" | "blobs";

async function servedBy(options: VirtiofsCommandOptions): Promise<Served> {
  const { sharedDir, image, blobs, mount } = options;
  const given = Object.entries({ dir: sharedDir, image, blobs }).filter((entry) => entry[1] !== undefined);
  if (given.length + Math.min(mount.length, 1) !== 1)
    throw new UsageError("one of --shared-dir, --image, --blobs and --mount says what is served");
  const [single] = given as [Kind, string][];
  if (single !== undefined) {
    const { config, close } = await exportBy(...single, options);
    return { volume: config, source: single[1], close };
  }
  const mounts: RootMount[] = [];
  const closes: (() => void)[] = [];
  for (const text of mount) {
    const [, path, kind, source] = /^(\/[^=]*)=(dir|image|blobs):(.+)$/s.exec(text) ?? [];
    if (path === undefined) throw new UsageError(`--mount ${text}: expected /path=dir:…, =image:… or =blobs:…`);
    // Images need nothing of the process before; what a guest knows of a directory has to be handed over.
    if (options.supervised && kind === "dir")
      throw new UsageError(
        `--mount ${text}: a directory among several mounts cannot be taken over; leave out --supervised`,
      );
    const { config, close } = await exportBy(kind as Kind, source!, options);
    mounts.push({ path, config });
    closes.push(close);
  }
  return {
    volume: { kind: "root", mounts },
    source: mounts.map(({ path }) => path).join(", "),
    close: () => {
      for (const close of closes) close();
    },
  };
}

async function exportBy(
  kind: Kind,
  source: string,
  options: VirtiofsCommandOptions,
): Promise<{ config: ExportConfig; close: () => void }> {
  const { dax, daxThreshold, daxReadOnlyTrusted } = options;
  const mapping = {
    dax,
    ...(daxThreshold !== undefined && { daxThresholdBytes: parseBytes("--dax-threshold", daxThreshold) }),
  };
  if (kind === "dir") {
    const trusted = daxReadOnlyTrusted === undefined ? {} : { daxReadOnlyTrusted };
    return { config: { ...passthroughConfig(folder(source), options), ...mapping, ...trusted }, close: () => {} };
  }
  const { metaPath, devicePaths, close } = await findImageFiles(
    source,
    options.store ?? defaultStoreRoot(),
    options.blobFolder,
  );
  const trust = { ...mapping, daxTrusted: daxReadOnlyTrusted ?? false };
  // Among several mounts nobody can wait for data: there blobs on demand are read through the mount that shows them.
  const lazyStore = options.mount.length === 0 && { lazyStore: options.store ?? defaultStoreRoot() };
  return {
    config:
      kind === "image"
        ? { kind, metaPath, devicePaths, ...trust, ...lazyStore }
        : { kind, files: blobEntries(metaPath, devicePaths), ...trust },
    close,
  };
}

function deviceOf(options: VirtiofsCommandOptions, volume: ServedConfig): VirtiofsOptions {
  const { dax, daxReadOnlyTrusted, readOnly } = options;
  // A VMM maps for writing whatever is asked: what is read only has no window unless the guest is trusted with it.
  const isReadOnly = readOnly || ("kind" in volume && volume.kind !== "root");
  const hasWindow = dax !== "never" && (!isReadOnly || daxReadOnlyTrusted);
  return {
    tag: options.tag,
    queues: parseCount("--queues", options.queues, 1, MAX_QUEUES),
    windowBytes: hasWindow ? parseBytes("--dax-window", options.daxWindow) : 0,
    volume,
    guestMemory: options.guestMemory.map(parseGuestMemory),
  };
}

/** `0x100000000=/path`: where the guest has a file as memory. */
function parseGuestMemory(text: string): GuestMemoryFile {
  const [, address, path] = /^(0x[0-9a-f]{1,13}|\d{1,16})=(.+)$/is.exec(text) ?? [];
  if (path === undefined)
    throw new UsageError(`--guest-memory ${text}: expected ADDRESS=FILE, as in 0x100000000=/file`);
  return { guestAddress: Number(address), path: resolve(path) };
}

function printQemu(device: VirtiofsOptions, socketPath: string): void {
  const { machine, device: lines } = qemuLines(device, socketPath, EXAMPLE_MEMORY);
  const pairs = [...machine, ...lines];
  const text = pairs.flatMap((word, index) => (index % 2 === 0 ? [`${word} ${pairs[index + 1]}`] : []));
  process.stdout.write(`qemu-system-x86_64 \\\n  ${text.join(" \\\n  ")}\n`);
  const dax = device.windowBytes === 0 ? "" : ` -o dax=${"dax" in device.volume ? device.volume.dax : "inode"}`;
  process.stdout.write(`# in the guest: mount -t virtiofs${dax} ${device.tag} /mnt\n`);
}
