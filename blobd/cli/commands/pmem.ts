import { connect } from "node:net";
import { resolve } from "node:path";
import { formatAdd, MAX_CONTROL_BYTES, parsePlaced } from "../../../formats/control/index.ts";
import { linesOf } from "../../control/index.ts";
import { findImageFiles } from "../../images/index.ts";
import { imageLayout, PmemServer, qemuLines, type WindowFile } from "../../pmem/index.ts";
import { defaultStoreRoot, storeOf } from "../../store/index.ts";
import { UsageError } from "../exit.ts";
import { createLogger } from "../logger.ts";
import { parseBytes } from "../numbers.ts";
import { serveGuest } from "../serve-guest.ts";

/** What both commands take. */
interface FileOptions {
  readonly image?: string;
  readonly file: readonly string[];
  readonly store?: string;
  readonly blobFolder: readonly string[];
  readonly json?: boolean;
}

export interface PmemCommandOptions extends FileOptions {
  readonly socketPath: string;
  readonly control?: string;
  readonly window?: string;
  readonly guestWritesFiles?: boolean;
  readonly guestWritesStore?: boolean;
  readonly printQemu?: boolean;
  readonly logLevel: string;
}

export interface PmemAddCommandOptions extends FileOptions {
  readonly control: string;
}

/** `blobd pmem`: files of this host as memory of one guest. */
export async function run(options: PmemCommandOptions): Promise<void> {
  const { socketPath, control } = options;
  if (options.printQemu) return printQemu(socketPath);
  const logger = createLogger(options.logLevel);
  const { files, close } = await filesOf(options);
  const writesFiles = options.guestWritesFiles === true || options.guestWritesStore === true;
  const server = await PmemServer.start({
    socketPath,
    ...(control !== undefined && { controlPath: control }),
    files,
    ...(options.window !== undefined && { windowBytes: parseBytes("--window", options.window) }),
    writesFiles,
    ...(writesFiles && options.guestWritesStore !== true && { refuse: refuseStoreFiles }),
    log: { info: (line) => logger.info(line), warn: (line) => logger.warn(line) },
  });
  close();
  const { windowBytes } = server;
  logger.info({ socketPath, windowBytes, files: files.length, writesFiles }, "serving");
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ socketPath, control, windowBytes, pid: process.pid })}\n`
      : `${socketPath}: ${files.length} files in ${windowBytes} bytes, listening\n`,
  );
  await serveGuest(server, logger);
}

/** `blobd pmem-add`: more files for a guest that runs. */
export async function add(options: PmemAddCommandOptions): Promise<void> {
  const { files: found, close } = await filesOf(options);
  // The daemon opens them, from another working directory.
  const files = found.map((file) => ({ ...file, path: resolve(file.path) }));
  const socket = connect(options.control);
  try {
    socket.write(formatAdd({ files, isBehind: options.image !== undefined }));
    for await (const line of linesOf(socket, MAX_CONTROL_BYTES)) {
      const placed = parsePlaced(line);
      if ("error" in placed) throw Object.assign(new Error(placed.error), { code: placed.code });
      if (options.json) process.stdout.write(`${JSON.stringify(placed)}\n`);
      else for (const { path, offset, bytes } of placed) process.stdout.write(`${path}: ${bytes} bytes at ${offset}\n`);
      return;
    }
    throw new Error(`${options.control}: blobd pmem has ended`);
  } finally {
    socket.destroy();
    close();
  }
}

/** The files, held until `close`. */
async function filesOf(options: FileOptions): Promise<{ files: readonly WindowFile[]; close: () => void }> {
  const { image, file, blobFolder, store = defaultStoreRoot() } = options;
  if ((image === undefined) === (file.length === 0))
    throw new UsageError("one of --image and --file says what is served");
  if (image === undefined) return { files: file.map((path) => ({ path })), close: () => {} };
  const found = await findImageFiles(image, store, blobFolder);
  try {
    return { files: imageLayout(found), close: () => found.close() };
  } catch (error) {
    found.close();
    throw error;
  }
}

/** What others rely on must not be written by a guest, unless that is said in so many words. */
function refuseStoreFiles(path: string): string | undefined {
  const store = storeOf(path);
  if (store === undefined) return undefined;
  return (
    `${path} is of the store ${store}, which other guests and this host use: leave out --guest-writes-files, so that the guest gets ` +
    "pages of its own; or say --guest-writes-store if it may change them for all"
  );
}

function printQemu(socketPath: string): void {
  const [, chardev, , device] = qemuLines(socketPath);
  process.stdout.write(
    "qemu-system-x86_64 -object memory-backend-memfd,id=memory,size=2G,share=on -machine q35,memory-backend=memory -m 2G \\\n" +
      `  -chardev ${chardev} \\\n  -device ${device}\n# in the guest: mount -t erofs -o ro,dax=always /dev/pmem0 /mnt\n`,
  );
}
