import { spawnSync } from "node:child_process";
import { closeSync, lstatSync, realpathSync } from "node:fs";
import { join } from "node:path";
import {
  allocAligned,
  type MountAttribute,
  mount,
  openFuseDevice,
  SysError,
  socketPair,
  UnixSocket,
  unmount,
} from "../../sys/index.ts";
import { findFuseMount } from "./connection.ts";

/** How a mount looks to the host. */
export interface AttachOptions {
  /** The directory to mount on. */
  readonly target: string;
  /** Shown as the mount's source, such as the exported folder. */
  readonly source: string;
  /** Shown behind `fuse.` as the type. */
  readonly subtype?: string;
  readonly readOnly?: boolean;
  /** Other users may use it (a user who is not root needs `user_allow_other` in /etc/fuse.conf). */
  readonly allowOther?: boolean;
  /** The kernel checks permissions by mode and owner. Without it the file system must check them itself. */
  readonly defaultPermissions?: boolean;
  /** Device nodes and set-user-ID programs work; only for root, and only of an export that is trusted. */
  readonly allowDevices?: boolean;
  readonly allowSuid?: boolean;
}

/** A new mount. */
export interface Attached {
  /** The descriptor through which its requests come. */
  readonly fd: number;
  /** The mount point without symlinks. */
  readonly target: string;
  /** Its number in fusectl. */
  readonly connection: number;
  /** Mounted through fusermount3, which also takes it away. */
  readonly byHelper: boolean;
}

/** Longest source that fsconfig(2) and fusermount3 both take, in bytes. */
const MAX_SOURCE_BYTES = 255;

/**
 * Mounts: by the system calls where we may, else through fusermount3.
 * @throws SysError when neither can.
 */
export function attach(options: AttachOptions): Attached {
  removeStale(options.target);
  const target = realpathSync(options.target);
  if (!lstatSync(target).isDirectory()) throw new SysError("mount", "ENOTDIR", 20, target);
  const byHelper = process.geteuid?.() !== 0;
  const fd = byHelper ? mountByHelper(target, options) : mountByKernel(target, options);
  const connection = findFuseMount(target)?.connection;
  if (connection === undefined) {
    closeSync(fd);
    throw new SysError("mount", "EIO", 5, target, "the mount is not to be seen in /proc/self/mountinfo");
  }
  return { fd, target, connection, byHelper };
}

/** A mount whose server was killed answers nothing but ENOTCONN: it goes before a new one is made. */
function removeStale(target: string): void {
  try {
    lstatSync(join(target, "."));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOTCONN") return;
    if (process.geteuid?.() === 0) unmount(target, { lazy: true });
    else detachByHelper(target, true);
  }
}

function mountByKernel(target: string, options: AttachOptions): number {
  const fd = openFuseDevice();
  const attributes: MountAttribute[] = [];
  if (!options.allowDevices) attributes.push("nodev");
  if (!options.allowSuid) attributes.push("nosuid");
  if (options.readOnly) attributes.push("ro");
  try {
    mount({
      type: "fuse",
      source: cut(options.source),
      target,
      options: [
        `fd=${fd}`,
        "rootmode=40000",
        `user_id=${process.geteuid?.() ?? 0}`,
        `group_id=${process.getegid?.() ?? 0}`,
        ...common(options),
      ],
      attributes,
    });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

/** fusermount3 is set-user-ID root: it mounts, and sends the descriptor back through a socket. */
function mountByHelper(target: string, options: AttachOptions): number {
  const [ours, theirs] = socketPair();
  const socket = new UnixSocket(ours);
  try {
    const list = [`fsname=${cut(options.source).replaceAll("\\", "\\\\").replaceAll(",", "\\,")}`, ...common(options)];
    if (options.readOnly) list.push("ro");
    runHelper(["-o", list.join(","), "--", target], target, theirs);
    const fds: number[] = [];
    const byte = allocAligned(1);
    if (socket.receive(byte.address, 1, fds) !== 1 || fds.length !== 1)
      throw new SysError("fusermount3", "EIO", 5, target, "it sent no descriptor");
    return fds[0]!;
  } finally {
    closeSync(theirs);
    socket.close();
  }
}

/** Takes away a mount that fusermount3 made. */
export function detachByHelper(target: string, lazy: boolean): void {
  runHelper(["-u", ...(lazy ? ["-z"] : []), "--", target], target);
}

/** @param socket becomes the helper's descriptor 3. */
function runHelper(args: string[], target: string, socket?: number): void {
  const { error, status, stderr } = spawnSync("fusermount3", args, {
    stdio: ["ignore", "ignore", "pipe", ...(socket === undefined ? [] : [socket])],
    env: { ...process.env, LC_ALL: "C", ...(socket === undefined ? {} : { _FUSE_COMMFD: "3" }) },
    encoding: "utf8",
  });
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code === "ENOENT")
    throw new SysError("fusermount3", "ENOENT", 2, target, "it is needed to mount without root: install fuse3");
  if (status === 0) return;
  const isBusy = /busy/.test(stderr ?? "");
  const [name, errno] = isBusy ? (["EBUSY", 16] as const) : (["EPERM", 1] as const);
  throw new SysError("fusermount3", name, errno, target, (stderr ?? "").trim() || code || `status ${status}`);
}

function common(options: AttachOptions): string[] {
  const list = [`subtype=${options.subtype ?? "blobd"}`];
  if (options.allowOther) list.push("allow_other");
  if (options.defaultPermissions ?? true) list.push("default_permissions");
  return list;
}

/** A source is for people to read: what is too long for the kernel loses its end. */
function cut(source: string): string {
  const bytes = Buffer.from(source, "utf8");
  return bytes.length <= MAX_SOURCE_BYTES
    ? source
    : bytes.toString("latin1", 0, MAX_SOURCE_BYTES).replace(/[\x80-\xff]/g, "?");
}
