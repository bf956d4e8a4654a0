import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../testkit/index.ts";

// In the source tree: this file is dist/builder/guestkit/programs.js when it runs.
const SOURCES = fileURLToPath(new URL("../../../builder/guestkit/programs/", import.meta.url));

/**
 * Compiles a program of programs/ into `folder`: a static one, for guests and for the host. gcc alone is enough, it needs no
 * libc.
 * @returns the program's path
 */
export async function compileProgram(name: "fsload" | "mountfs", folder: string): Promise<string> {
  const path = join(folder, name);
  const freestanding = ["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"];
  await run("gcc", ["-O2", ...freestanding, "-o", path, join(SOURCES, `${name}.c`)]);
  return path;
}
