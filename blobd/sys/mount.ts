import { closeSync, readSync } from "node:fs";
import { resolve } from "node:path";
import { check, lastError, SysError } from "./errno.ts";
import { cString, libc, SYS } from "./libc.ts";
import { attachLoop, openFile } from "./loop.ts";

// Linux include/uapi/linux/mount.h.
const FSOPEN_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const FSMOUNT_CLOEXEC = 1;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const AT_FDCWD = -100;
/** fsconfig(2) takes values of up to 255 bytes. */
const MAX_VALUE_BYTES = 255;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
/** Room for one message of the kernel about a failed mount, in bytes. */
const MESSAGE_BYTES = 4096;

/** Mount attributes of fsmount(2). */
const MOUNT_ATTRS = { ro: 1, nosuid: 2, nodev: 4, noexec: 8 } as const;
export type MountAttribute = keyof typeof MOUNT_ATTRS;

export interface MountRequest {
  /** File system type, such as `erofs`. */
  readonly type: string;
  readonly source: string;
  /** Directory to mount on. */
  readonly target: string;
  /** The file system's own options, `name` or `name=value`, in order. */
  readonly options: readonly string[];
  readonly attributes?: readonly MountAttribute[];
}

/**
 * Mounts a file system: fsopen(2), fsconfig(2), fsmount(2), move_mount(2) (Linux 5.2). Unlike mount(2) they take any
 * number of options (mount(2) one page, which 40 `device=` paths fill), commas in values, and say what went wrong.
 *
 * @throws SysError with the kernel's own message when there is one.
 */
export function mount(request: MountRequest): void {
  const mounted = createMount(request);
  try {
    const target = cString(resolve(request.target), "move_mount");
    const moved = libc().moveMount(SYS.moveMount, mounted, Buffer.alloc(1), AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
    check(moved, "move_mount", request.target);
  } finally {
    closeSync(mounted);
  }
}

/**
 * The mount without a place: fsopen(2), fsconfig(2), fsmount(2).
 * @returns a descriptor of its root; when it is closed the mount goes.
 */
export function createMount(request: Omit<MountRequest, "target">): number {
  const context = check(
    libc().fsopen(SYS.fsopen, cString(request.type, "fsopen"), FSOPEN_CLOEXEC),
    "fsopen",
    request.type,
  );
  try {
    const configure = (command: number, key: string | null, value: string | null) => {
      const [k, v] = [key, value].map((text) => (text === null ? null : cString(text, "fsconfig")));
      if (libc().fsconfig(SYS.fsconfig, context, command, k!, v!, 0) < 0)
        throw mountError(context, "fsconfig", request.source);
    };
    configure(FSCONFIG_SET_STRING, "source", request.source);
    if (request.attributes?.includes("ro")) configure(FSCONFIG_SET_FLAG, "ro", null);
    for (const option of request.options) {
      const equals = option.indexOf("=");
      if (equals < 0) configure(FSCONFIG_SET_FLAG, option, null);
      else configure(FSCONFIG_SET_STRING, option.slice(0, equals), option.slice(equals + 1));
    }
    configure(FSCONFIG_CMD_CREATE, null, null);
    const attributes = (request.attributes ?? []).reduce((all, one) => all | MOUNT_ATTRS[one], 0);
    const mounted = libc().fsmount(SYS.fsmount, context, FSMOUNT_CLOEXEC, attributes);
    if (mounted < 0) throw mountError(context, "fsmount", request.source);
    return mounted;
  } finally {
    closeSync(context);
  }
}

/** A merged EROFS image to mount. */
export interface ErofsMount {
  /** The image with the tree: a file or a block device. */
  readonly metaPath: string;
  /** Its extra devices, in slot order. */
  readonly devicePaths: readonly string[];
  readonly target: string;
  /** EROFS options, such as `noacl` or `dax=always`. */
  readonly options?: readonly string[];
  /** `any` (the default) tries files, then loop devices. */
  readonly backing?: "any" | "file" | "loop";
}

/** Errors by which a kernel refuses files as devices, be it too old, built without, or on such a file system. */
const NOT_FILE_BACKED = new Set(["ENOTBLK", "EINVAL", "ELOOP", "ENOTSUP", "EOPNOTSUPP"]);

/**
 * Mounts an EROFS image read-only. The kernel reads plain files itself since Linux 6.12; where it will not, each file
 * gets a loop device that goes away with the mount. All devices of one mount are of one kind: the kernel mixes none.
 *
 * @returns which of the two it was.
 * @throws SysError when neither works; its `cause` is then the refusal of the plain files.
 */
export function mountErofs(image: ErofsMount): "file" | "loop" {
  const backing = image.backing ?? "any";
  let refusal: SysError | undefined;
  if (backing !== "loop")
    try {
      withShortPaths([image.metaPath, ...image.devicePaths], (paths) => mountDevices(image, paths));
      return "file";
    } catch (error) {
      if (backing === "file" || !(error instanceof SysError) || !NOT_FILE_BACKED.has(error.code)) throw error;
      refusal = error;
    }
  try {
    withLoops([image.metaPath, ...image.devicePaths], (paths) => mountDevices(image, paths));
    return "loop";
  } catch (error) {
    if (error instanceof Error && refusal !== undefined) error.cause = refusal;
    throw error;
  }
}

function mountDevices(image: ErofsMount, [source, ...devices]: readonly string[]): void {
  mount({
    type: "erofs",
    source: source!,
    target: image.target,
    options: [...(image.options ?? []), ...devices.map((path) => `device=${path}`)],
    attributes: ["ro"],
  });
}

/** Absolute paths, those too long for fsconfig(2) replaced by short ones through an open descriptor. */
function withShortPaths(paths: readonly string[], use: (paths: string[]) => void): void {
  const fds: number[] = [];
  try {
    use(
      paths.map((path) => {
        const absolute = resolve(path);
        if (Buffer.byteLength(absolute) <= MAX_VALUE_BYTES) return absolute;
        const fd = openFile(absolute);
        fds.push(fd);
        return `/proc/self/fd/${fd}`;
      }),
    );
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

function withLoops(paths: readonly string[], use: (paths: string[]) => void): void {
  const fds: number[] = [];
  try {
    use(
      paths.map((path) => {
        const loop = attachLoop(path);
        fds.push(loop.fd);
        return loop.path;
      }),
    );
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

/**
 * Takes a mount away.
 * @param options lazy: detach it now although it is busy, and finish when it is not.
 * @throws SysError, EBUSY while somebody uses it.
 */
export function unmount(target: string, options: { lazy?: boolean } = {}): void {
  const flags = UMOUNT_NOFOLLOW | (options.lazy ? MNT_DETACH : 0);
  if (libc().umount2(cString(target, "umount2"), flags) < 0) throw lastError("umount2", target);
}

/** The error of the last call on `context`, with the message the kernel left in it (a line such as `e erofs: …`). */
function mountError(context: number, syscall: string, path: string): SysError {
  const error = lastError(syscall, path);
  const message = Buffer.alloc(MESSAGE_BYTES);
  try {
    const length = readSync(context, message);
    return new SysError(error.syscall, error.code, error.errno, path, message.toString("utf8", 0, length).trim());
  } catch {
    return error; // ENODATA: it left none.
  }
}
