import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { run } from "./run.ts";
import type { TarEntry } from "./tar-builder.ts";

/** In the source tree: this file is dist/builder/testkit/guest.js when it runs. */
const lab = (name: string) => fileURLToPath(new URL(`../../../samples/lab/${name}`, import.meta.url));
/** Settings that decide where the lab is. */
const LAB_SETTINGS = ["EROFSIFY_CACHE", "EROFSIFY_LAB", "EROFSIFY_LAB_SUITE", "EROFSIFY_MIRROR"];

/** The environment in which `erofsify run` finds the lab's QEMU and kernel. The lab is made when it is absent. */
export async function guestEnvironment(): Promise<Record<string, string>> {
  const kernel = (await run(lab("kernel.sh"), [])).stdout.trim();
  const settings = LAB_SETTINGS.flatMap((name) => (process.env[name] ? [[name, process.env[name]] as const] : []));
  return { ...Object.fromEntries(settings), EROFSIFY_QEMU: lab("qemu.sh"), EROFSIFY_KERNEL: kernel };
}

/** Tar entries of a user space for guests: Debian's static busybox in /bin, with links for these applets. */
export function busyboxLayer(applets: readonly string[]): TarEntry[] {
  return [
    { name: "bin/", type: "5" },
    { name: "bin/busybox", mode: 0o755, content: readFileSync("/usr/bin/busybox") },
    ...applets.map((name): TarEntry => ({ name: `bin/${name}`, type: "2", link: "busybox" })),
  ];
}
