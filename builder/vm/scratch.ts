import { spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync } from "node:fs";
import { VmError } from "./errors.ts";

/** An ext4 file system takes some space for itself. */
const LEAST_BYTES = 8 << 20;

/**
 * Makes a sparse file with an empty ext4 file system, for what a guest writes.
 * @throws VmError ERR_SCRATCH
 */
export function makeScratch(path: string, sizeBytes: number): void {
  if (sizeBytes < LEAST_BYTES)
    throw new VmError("ERR_SCRATCH", `--rw-size: found ${sizeBytes} bytes, expected at least 8 MiB`);
  const fd = openSync(path, "wx", 0o600);
  try {
    ftruncateSync(fd, sizeBytes);
  } finally {
    closeSync(fd);
  }
  // No journal: nobody reads it after a crash.
  const args = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", path];
  const { status, stderr, error } = spawnSync("mkfs.ext4", args, { env: { ...process.env, PATH: searchPath() } });
  if (error) throw new VmError("ERR_SCRATCH", "--rw-size needs mkfs.ext4 (Debian: e2fsprogs)", error);
  if (status !== 0) throw new VmError("ERR_SCRATCH", `mkfs.ext4 failed: ${stderr.toString().trim()}`);
}

/** Users often have no sbin in their PATH. */
function searchPath(): string {
  return `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;
}
