import { randomBytes } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import {
  createdMinor,
  DM_CONTROL,
  type DmRequest,
  removeDevice,
  verityDevice,
} from "../../formats/device-mapper/index.ts";
import type { VerityRoot } from "../../formats/verity/index.ts";
import { lastError, SysError } from "./errno.ts";
import { libc } from "./libc.ts";
import { attachLoop } from "./loop.ts";
import { mount } from "./mount.ts";

/** A file that ends with a hash tree, and the root it is held to. */
export interface CheckedFile {
  readonly path: string;
  readonly verity: VerityRoot;
}

/**
 * Mounts an EROFS image through dm-verity: the kernel compares every block with the hash trees when it reads it, and a wrong
 * one is an I/O error.
 *
 *     file ── loop device ── dm-verity device ── EROFS
 *
 * Loop and dm-verity devices go away with the mount.
 *
 * @param files the image with the tree, then its extra devices in slot order
 * @throws SysError; nothing is left behind then
 */
export function mountChecked(files: readonly CheckedFile[], target: string): void {
  const opened: number[] = [];
  const named: string[] = [];
  try {
    const control = openControl();
    opened.push(control);
    const prefix = `erofsify-${randomBytes(6).toString("hex")}`;
    const [source, ...devices] = files.map(({ path, verity }, index) => {
      const loop = attachLoop(path);
      opened.push(loop.fd);
      const name = `${prefix}-${index}`;
      const [create, load, resume] = verityDevice(name, loop.path, verity);
      ask(control, create, path);
      named.push(name);
      ask(control, load, path);
      ask(control, resume, path);
      return `/dev/dm-${createdMinor(create)}`;
    });
    mount({
      type: "erofs",
      source: source!,
      target,
      options: devices.map((device) => `device=${device}`),
      attributes: ["ro"],
    });
  } finally {
    // What is mounted stays until it is unmounted; the rest goes now.
    for (const { command, bytes } of named.map(removeDevice)) libc().ioctlBytes(opened[0]!, command, bytes);
    for (const fd of opened) closeSync(fd);
  }
}

function openControl(): number {
  try {
    return openSync(DM_CONTROL, "r+");
  } catch (error) {
    const { code = "EIO", errno = -5 } = error as NodeJS.ErrnoException;
    const detail =
      code === "ENOENT" || code === "ENODEV" ? "this kernel has no device mapper (modprobe dm-verity)" : undefined;
    throw new SysError("open", code, -errno, DM_CONTROL, detail);
  }
}

function ask(control: number, { command, bytes }: DmRequest, path: string): void {
  if (libc().ioctlBytes(control, command, bytes) < 0) throw lastError("dm-verity", path);
}
