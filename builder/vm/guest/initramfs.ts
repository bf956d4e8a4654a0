/** The guest's initramfs: a base that all runs with a kernel share, kept in the cache, and a small part for each run. */
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { type CpioEntry, writeCpio } from "../../../formats/cpio/index.ts";
import { S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from "../../../formats/tree/index.ts";
import { VmError } from "../errors.ts";
import { type GuestKernel, moduleName } from "../kernel/index.ts";
import { bootProgram, modulePath, SUPERVISE_PATH } from "./boot-program.ts";
import { findBusybox, readBusybox } from "./busybox.ts";
import { formatSettings, type GuestSettings } from "./settings.ts";

/** The script as it lies in the source tree; this file runs compiled, in dist/builder/vm/guest. */
const SUPERVISE_SOURCE = fileURLToPath(new URL("../../../../builder/vm/guest/supervise.sh", import.meta.url));
/** Programs that supervise.sh calls by name. */
const APPLETS = ["sh", "mount", "mkdir", "cat", "ln", "sleep", "usleep", "stty", "test", "poweroff", "reboot"];
const FOLDERS = ["bin", "guest", "modules", "proc", "sys", "dev", "rw", "cgroup", "image", "root"];
const FIFOS = ["guest/in", "guest/out", "guest/err"];
/** A base that no guest was started with for a week goes, in milliseconds. */
const UNUSED_MS = 7 * 24 * 3600 * 1000;
/** Longest module after decompression, in bytes; the largest of a distribution's are some 10 MB. */
const MAX_MODULE_BYTES = 256 << 20;

/**
 * The base initramfs for a kernel: busybox, modules, /init. Made once, and kept for as long as they are the same files.
 *
 * @param moduleFiles Modules in loading order, relative to the kernel's modules folder.
 * @returns the file's path.
 * @throws VmError ERR_NO_BUSYBOX, ERR_NO_KERNEL (a module cannot be read)
 */
export async function baseInitramfs(
  kernel: GuestKernel,
  moduleFiles: readonly string[],
  cacheDir: string,
): Promise<string> {
  const busyboxPath = findBusybox();
  const files = moduleFiles.map((file) => join(kernel.modulesDir ?? "/", file));
  const paths = moduleFiles.map((file, i) => modulePath(i, moduleName(file)));
  const script = readFileSync(SUPERVISE_SOURCE);
  const init = bootProgram(paths);
  // Modules and busybox are megabytes: to read them for every guest would take longer than all else that is done here.
  const key = createHash("sha256").update(digest(script)).update(digest(init));
  for (const path of [busyboxPath, ...files]) key.update(identityOf(path));
  const target = join(cacheDir, `initramfs-${kernel.version}-${key.digest("hex").slice(0, 16)}.cpio`);
  if (existsSync(target)) {
    utimesSync(target, new Date(), new Date());
    return target;
  }
  removeUnused(cacheDir);
  const busybox = readBusybox(busyboxPath);
  const modules: CpioEntry[] = [];
  for (const [i, file] of files.entries())
    modules.push({
      path: (paths[i] as string).slice(1),
      mode: S_IFREG | 0o644,
      data: await unpackModule(file, readModule(file), busyboxPath),
    });
  writeWhole(cacheDir, target, baseArchive(busybox, script, init, modules));
  return target;
}

function baseArchive(busybox: Buffer, script: Buffer, init: Buffer, modules: readonly CpioEntry[]): Buffer {
  return writeCpio([
    ...FOLDERS.map((path) => ({ path, mode: S_IFDIR | 0o755 })),
    { path: "dev/console", mode: S_IFCHR | 0o600, device: [5, 1] },
    { path: "init", mode: S_IFREG | 0o755, data: init },
    { path: "bin/busybox", mode: S_IFREG | 0o755, data: busybox },
    ...APPLETS.map((name) => ({ path: `bin/${name}`, mode: S_IFLNK | 0o777, data: Buffer.from("busybox") })),
    { path: SUPERVISE_PATH.slice(1), mode: S_IFREG | 0o755, data: script },
    // The command may run as any user and open its standard output again.
    ...FIFOS.map((path) => ({ path, mode: S_IFIFO | 0o666 })),
    ...modules,
  ]);
}

/** What differs between runs. */
export interface RunParts {
  readonly settings: GuestSettings;
  /** The program that becomes the image's command. */
  readonly enter: Uint8Array;
  /** The program that lays dm-verity over the image's devices; without it they are mounted as they are. */
  readonly verity?: Uint8Array;
}

/** The part of one run. Goes behind the base. */
export function runInitramfs({ settings, enter, verity }: RunParts): Buffer {
  return writeCpio([
    { path: "guest/settings", mode: S_IFREG | 0o644, data: Buffer.from(formatSettings(settings)) },
    { path: "guest/enter", mode: S_IFREG | 0o755, data: enter },
    ...(verity === undefined ? [] : [{ path: "guest/verity", mode: S_IFREG | 0o755, data: verity }]),
  ]);
}

/** Which file it is, and which of its contents: another, or one that was written to, has another identity. */
function identityOf(path: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = readable(path, () => statSync(path, { bigint: true }));
  return `${path} ${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}\n`;
}

function readModule(path: string): Buffer {
  return readable(path, () => readFileSync(path));
}

function readable<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new VmError("ERR_NO_KERNEL", `${path}, for the guest, cannot be read: ${(error as Error).message}`, error);
  }
}

/** Modules go in unpacked: done here once, it would take the guest time at every start. */
async function unpackModule(file: string, bytes: Buffer, busyboxPath: string): Promise<Uint8Array> {
  if (file.endsWith(".ko")) return bytes;
  if (file.endsWith(".gz")) return gunzipSync(bytes, { maxOutputLength: MAX_MODULE_BYTES });
  if (file.endsWith(".zst")) return unzstd(bytes);
  if (file.endsWith(".xz")) {
    const { status, stdout, stderr } = spawnSync(busyboxPath, ["xzcat"], { input: bytes, maxBuffer: MAX_MODULE_BYTES });
    if (status === 0) return stdout;
    throw new VmError("ERR_NO_KERNEL", `unpacking ${file}: ${stderr?.toString().trim()}`);
  }
  throw new VmError("ERR_NO_KERNEL", `module ${file}: its compression is not known`);
}

async function unzstd(bytes: Buffer): Promise<Uint8Array> {
  // Needed once for a kernel, so not loaded with every guest.
  const { decompress } = await import("../../decompress/index.ts");
  const pieces: Buffer[] = [];
  // Pieces are valid only until the next one.
  for await (const piece of decompress(oneChunk(bytes), "zstd", { maxOutputBytes: MAX_MODULE_BYTES }))
    pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

async function* oneChunk(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function digest(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/** Bases of kernels and versions that nobody starts any more; a running QEMU has long read its own. */
function removeUnused(cacheDir: string): void {
  if (!existsSync(cacheDir)) return;
  for (const name of readdirSync(cacheDir)) {
    const path = join(cacheDir, name);
    const found = name.startsWith("initramfs-") && statSync(path, { throwIfNoEntry: false });
    if (found && Date.now() - found.mtimeMs > UNUSED_MS) rmSync(path, { force: true });
  }
}

/** Writes a file of the cache so that whoever sees it sees all of it. */
function writeWhole(folder: string, target: string, bytes: Uint8Array): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const temporary = join(folder, `.${basename(target)}.${randomBytes(6).toString("hex")}`);
  writeFileSync(temporary, bytes, { mode: 0o600 });
  renameSync(temporary, target);
}
