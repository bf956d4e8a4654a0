/** Whether guests run on the processor here: found out by running one, because /dev/kvm being there proves little. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { writeCpio } from "../../../formats/cpio/index.ts";
import { X86_64_CALLS as SYS, SyscallProgram } from "../../../formats/elf/index.ts";
import { S_IFCHR, S_IFDIR, S_IFREG } from "../../../formats/tree/index.ts";
import type { Accelerator } from "../vmm/index.ts";

/** A kernel reaches its first process within a second by KVM; this is for a machine in heavy use. In milliseconds. */
const PROBE_TIMEOUT_MS = 8000;
const PROBE_MARK = "erofsify: a guest runs here";
/** What QEMU says when it stops a guest that the processor, or the hypervisor below, could not run. */
const KVM_FAILURE = /KVM internal error|kvm run failed|failed to initialize kvm/i;
const LINUX_REBOOT = [0xfee1dead, 672274793, 0x01234567, 0] as const;

/**
 * `kvm` when a guest with this kernel gets as far as its first process by KVM, else `tcg`. The answer is kept in `cacheDir`
 * for as long as QEMU, host kernel, processor and guest kernel stay the same.
 */
export async function findAccelerator(qemu: string, kernelPath: string, cacheDir: string): Promise<Accelerator> {
  if (!canOpenKvm()) return "tcg";
  const notePath = join(cacheDir, `kvm-${probeKey(qemu, kernelPath)}`);
  if (existsSync(notePath)) return readFileSync(notePath, "utf8") === "kvm" ? "kvm" : "tcg";
  const accelerator = (await probeKvm(qemu, kernelPath, cacheDir)) ? "kvm" : "tcg";
  writeFileSync(notePath, accelerator);
  return accelerator;
}

function canOpenKvm(): boolean {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function probeKey(qemu: string, kernelPath: string): string {
  const about = (path: string) => {
    const { size, mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { size: 0, mtimeMs: 0 };
    return `${path} ${size} ${mtimeMs}`;
  };
  const facts = [about(qemu), about(kernelPath), release(), cpus()[0]?.model ?? ""];
  return createHash("sha256").update(facts.join("\n")).digest("hex").slice(0, 16);
}

/** Boots the kernel with a first process that says a sentence and resets the machine. */
async function probeKvm(qemu: string, kernelPath: string, cacheDir: string): Promise<boolean> {
  mkdirSync(cacheDir, { recursive: true, mode: 0o700 });
  const initrdPath = join(cacheDir, "kvm-probe.cpio");
  writeFileSync(initrdPath, probeInitramfs());
  const args = [
    ...[
      "-nodefaults",
      "-no-user-config",
      "-no-reboot",
      "-display",
      "none",
      "-machine",
      "q35,accel=kvm",
      "-cpu",
      "host",
    ],
    ...["-m", "256M", "-kernel", kernelPath, "-initrd", initrdPath, "-append", "console=ttyS0 quiet panic=-1"],
    ...["-serial", "stdio"],
  ];
  const child = spawn(qemu, args, {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: PROBE_TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  return new Promise((resolve) => {
    let output = "";
    const hear = (chunk: Buffer) => {
      output += chunk.toString("latin1");
      if (output.includes(PROBE_MARK) || KVM_FAILURE.test(output)) child.kill("SIGKILL");
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("error", () => resolve(false));
    child.once("close", () => resolve(output.includes(PROBE_MARK)));
  });
}

function probeInitramfs(): Buffer {
  const text = Buffer.from(`${PROBE_MARK}\n`);
  const init = new SyscallProgram()
    .call(SYS.write, [1, text, text.length])
    .call(SYS.reboot, LINUX_REBOOT)
    .exit(1)
    .build();
  return writeCpio([
    { path: "dev", mode: S_IFDIR | 0o755 },
    { path: "dev/console", mode: S_IFCHR | 0o600, device: [5, 1] },
    { path: "init", mode: S_IFREG | 0o755, data: init },
  ]);
}
