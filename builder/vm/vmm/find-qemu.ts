import { accessSync, constants } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { VmError } from "../errors.ts";

const NAME = "qemu-system-x86_64";

/**
 * The QEMU program: the given one, else `$EROFSIFY_QEMU`, else the first in PATH.
 * @throws VmError ERR_NO_VMM
 */
export function findQemu(given: string | undefined, env: NodeJS.ProcessEnv = process.env): string {
  const named = given ?? env.EROFSIFY_QEMU;
  if (named) {
    const path = resolve(named);
    if (isExecutable(path)) return path;
    throw new VmError("ERR_NO_VMM", `${path} is not a program that can be executed`);
  }
  const folders = (env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  const found = folders.map((folder) => join(folder, NAME)).find(isExecutable);
  if (found !== undefined) return found;
  throw new VmError(
    "ERR_NO_VMM",
    `no ${NAME} in PATH: install QEMU (Debian: qemu-system-x86), or name it with --qemu or EROFSIFY_QEMU`,
  );
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
