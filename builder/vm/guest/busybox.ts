import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { VmError } from "../errors.ts";

/** Program header type of a dynamic program. System V ABI, chapter 5. */
const PT_INTERP = 3;
const ELF_MAGIC = 0x7f454c46;

const INSTALL = "install a static one (Debian: busybox-static) or name one with EROFSIFY_BUSYBOX";

/**
 * Where the host's busybox is, which is the guest's user space besides the image: `$EROFSIFY_BUSYBOX`, else the first in PATH.
 * @throws VmError ERR_NO_BUSYBOX
 */
export function findBusybox(env: NodeJS.ProcessEnv = process.env): string {
  const named = env.EROFSIFY_BUSYBOX;
  if (named !== undefined && !existsSync(named))
    throw new VmError("ERR_NO_BUSYBOX", `EROFSIFY_BUSYBOX=${named}: there is no such file; ${INSTALL}`);
  const folders = (env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  const path = named ?? folders.map((folder) => join(folder, "busybox")).find((p) => existsSync(p));
  if (path === undefined) throw new VmError("ERR_NO_BUSYBOX", `no busybox in PATH for the guest; ${INSTALL}`);
  return path;
}

/** The program, which needs nothing else to run. @throws VmError ERR_NO_BUSYBOX */
export function readBusybox(path: string): Buffer {
  const program = readFileSync(path);
  if (!isStatic(program)) throw new VmError("ERR_NO_BUSYBOX", `${path} is not a static program; ${INSTALL}`);
  return program;
}

function isStatic(program: Buffer): boolean {
  if (program.length < 64 || program.readUInt32BE(0) !== ELF_MAGIC) return false;
  const [at, size, count] = [Number(program.readBigUInt64LE(32)), program.readUInt16LE(54), program.readUInt16LE(56)];
  if (size < 4 || at + size * count > program.length) return false;
  for (let i = 0; i < count; i++) if (program.readUInt32LE(at + i * size) === PT_INTERP) return false;
  return true;
}
