/** Which kernel the guest boots, and where its modules and its configuration are. */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { release } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { VmError } from "../errors.ts";
import { BZIMAGE_HEAD_BYTES, bzImageVersion, isElf, vmlinuxVersion } from "./version.ts";

export interface GuestKernel {
  /** The kernel image: what a VMM boots. */
  readonly imagePath: string;
  /** Its release, as `uname -r` prints it. */
  readonly version: string;
  /** The folder with modules.dep; absent when there is none (everything is built in then). */
  readonly modulesDir?: string;
  /** The configuration it was built with, when it is there to be looked at. */
  readonly configPath?: string;
}

export interface KernelOptions {
  /** A kernel image; default `$EROFSIFY_KERNEL`, else the host's own or newest one in /boot. */
  readonly kernel?: string;
  /** Its modules (lib/modules/VERSION); default: where distributions put them, relative to the image. */
  readonly modules?: string;
}

/**
 * Finds the guest's kernel.
 * @throws VmError ERR_NO_KERNEL, telling where was looked; FormatError when the file is no kernel.
 */
export function findKernel(options: KernelOptions = {}, env: NodeJS.ProcessEnv = process.env): GuestKernel {
  const given = options.kernel ?? env.EROFSIFY_KERNEL;
  const imagePath = given ? resolve(given) : hostKernel();
  if (!existsSync(imagePath)) throw new VmError("ERR_NO_KERNEL", `no kernel ${imagePath}`);
  const version = versionOf(imagePath);
  const modulesDir = options.modules ?? modulesBeside(imagePath, version);
  if (options.modules !== undefined && !existsSync(join(options.modules, "modules.dep")))
    throw new VmError("ERR_NO_KERNEL", `no modules.dep in ${options.modules}: not the modules folder of a kernel`);
  const configPath = [
    join(dirname(imagePath), `config-${version}`),
    join(dirname(imagePath), "config"),
    ...(modulesDir === undefined ? [] : [join(modulesDir, "config")]),
  ].find((path) => existsSync(path));
  return {
    imagePath,
    version,
    ...(modulesDir !== undefined && { modulesDir }),
    ...(configPath !== undefined && { configPath }),
  };
}

/** The kernel that runs this host, when its image is there, else the newest one installed. */
function hostKernel(): string {
  const own = [`/boot/vmlinuz-${release()}`, `/lib/modules/${release()}/vmlinuz`].find((path) => existsSync(path));
  if (own !== undefined) return own;
  const found = [
    ...list("/boot")
      .filter((name) => name.startsWith("vmlinuz-"))
      .map((name) => join("/boot", name)),
    ...list("/lib/modules")
      .map((name) => join("/lib/modules", name, "vmlinuz"))
      .filter((path) => existsSync(path)),
  ];
  const newest = found.sort(new Intl.Collator("en", { numeric: true }).compare).at(-1);
  if (newest !== undefined) return newest;
  throw new VmError(
    "ERR_NO_KERNEL",
    "no kernel for the guest: nothing in /boot or /lib/modules. Install one (Debian: linux-image-cloud-amd64), " +
      "or name one with --kernel or EROFSIFY_KERNEL",
  );
}

/** Beside the image (Debian from 2026, Fedora), or in the lib/modules of the same root as its boot folder. */
function modulesBeside(imagePath: string, version: string): string | undefined {
  const folder = dirname(imagePath);
  const candidates = [folder, join(folder, "..", "lib", "modules", version), join("/lib/modules", version)];
  return candidates.find((path) => existsSync(join(path, "modules.dep")));
}

function versionOf(imagePath: string): string {
  const fd = openSync(imagePath, "r");
  try {
    const head = Buffer.alloc(BZIMAGE_HEAD_BYTES);
    const found = head.subarray(0, readSync(fd, head, 0, head.length, 0));
    return isElf(found) ? vmlinuxVersion(readFileSync(imagePath)) : bzImageVersion(found);
  } catch (error) {
    throw new VmError("ERR_NO_KERNEL", `${imagePath}: ${(error as Error).message}`, error);
  } finally {
    closeSync(fd);
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder).map((name) => basename(name));
  } catch {
    return [];
  }
}
