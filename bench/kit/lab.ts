import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { VersionCommand } from "./machine.ts";

/** The lab's scripts. This file is dist/bench/kit/lab.js when it runs. */
export const LAB = fileURLToPath(new URL("../../../samples/lab/", import.meta.url));

/** Versions of what guests of the lab run on, and of what they are served by. */
export const LAB_VERSIONS = {
  qemu: ["QEMU", join(LAB, "qemu.sh"), "--version"],
  kernel: ["guest kernel", join(LAB, "kernel.sh")],
  virtiofsd: ["virtiofsd", join(LAB, "run-in-lab.sh"), "/usr/libexec/virtiofsd", "--version"],
} as const satisfies Readonly<Record<string, VersionCommand>>;
