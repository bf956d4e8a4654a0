import type { ExportConfig } from "../../fuse/exports/index.ts";
import { blobEntries, findImageFiles } from "../../images/index.ts";
import { defaultStoreRoot } from "../../store/index.ts";
import { MAX_QUEUES, qemuLines, type VirtiofsOptions, VirtiofsServer } from "../../virtiofs/index.ts";
import { UsageError } from "../exit.ts";
import { folder } from "../folder.ts";
import { createLogger } from "../logger.ts";
import { parseBytes, parseCount } from "../numbers.ts";
import { type PassthroughOptions, passthroughConfig } from "../passthrough-options.ts";

export interface VirtiofsCommandOptions extends PassthroughOptions {
  readonly socketPath: string;
  readonly sharedDir?: string;
  readonly image?: string;
  readonly blobs?: string;
  readonly store?: string;
  readonly blobFolder: readonly string[];
  readonly tag: string;
  readonly queues: string;
  readonly dax: "never" | "inode" | "always";
  readonly daxWindow: string;
  readonly daxThreshold?: string;
  readonly daxReadOnlyTrusted?: boolean;
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
  let stopping: Promise<void> | null = null;
  const stop = (signal: NodeJS.Signals) => {
    logger.info({ signal }, "stopping");
    stopping ??= server.close();
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  await server.ended;
  await (stopping ?? server.close());
}

/** What is served, and what it is called; files of the store are held until `close`. */
interface Served {
  readonly volume: ExportConfig;
  readonly source: string;
  close(): void;
}

async function servedBy(options: VirtiofsCommandOptions): Promise<Served> {
  const { sharedDir, image, blobs, dax, daxThreshold, daxReadOnlyTrusted } = options;
  const given = [sharedDir, image, blobs].filter((each) => each !== undefined);
  if (given.length !== 1)
    throw new UsageError(`one of --shared-dir, --image and --blobs says what is served: found ${given.length}`);
  const mapping = {
    dax,
    ...(daxThreshold !== undefined && { daxThresholdBytes: parseBytes("--dax-threshold", daxThreshold) }),
  };
  if (sharedDir !== undefined) {
    const source = folder(sharedDir);
    const trusted = daxReadOnlyTrusted === undefined ? {} : { daxReadOnlyTrusted };
    return { volume: { ...passthroughConfig(source, options), ...mapping, ...trusted }, source, close: () => {} };
  }
  const files = await findImageFiles(given[0]!, options.store ?? defaultStoreRoot(), options.blobFolder);
  const trust = { ...mapping, daxTrusted: daxReadOnlyTrusted ?? false };
  const { metaPath, devicePaths } = files;
  return {
    volume:
      image !== undefined
        ? { kind: "image", metaPath, devicePaths, ...trust }
        : { kind: "blobs", files: blobEntries(metaPath, devicePaths), ...trust },
    source: given[0]!,
    close: () => files.close(),
  };
}

function deviceOf(options: VirtiofsCommandOptions, volume: ExportConfig): VirtiofsOptions {
  const { dax, daxReadOnlyTrusted, readOnly } = options;
  // A VMM maps for writing whatever is asked: what is read only has no window unless the guest is trusted with it.
  const isReadOnly = readOnly || "kind" in volume;
  const hasWindow = dax !== "never" && (!isReadOnly || daxReadOnlyTrusted);
  return {
    tag: options.tag,
    queues: parseCount("--queues", options.queues, 1, MAX_QUEUES),
    windowBytes: hasWindow ? parseBytes("--dax-window", options.daxWindow) : 0,
    volume,
  };
}

function printQemu(device: VirtiofsOptions, socketPath: string): void {
  const { machine, device: lines } = qemuLines(device, socketPath, EXAMPLE_MEMORY);
  const pairs = [...machine, ...lines];
  const text = pairs.flatMap((word, index) => (index % 2 === 0 ? [`${word} ${pairs[index + 1]}`] : []));
  process.stdout.write(`qemu-system-x86_64 \\\n  ${text.join(" \\\n  ")}\n`);
  const dax = device.windowBytes === 0 ? "" : ` -o dax=${"dax" in device.volume ? device.volume.dax : "inode"}`;
  process.stdout.write(`# in the guest: mount -t virtiofs${dax} ${device.tag} /mnt\n`);
}
