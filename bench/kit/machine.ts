import { readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, release, totalmem } from "node:os";
import { run } from "../../builder/testkit/index.ts";

/** Where something was measured. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly arch: string;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly system: string;
  /** Versions of programs by name. */
  readonly versions: Readonly<Record<string, string>>;
}

/** A program's name, and the command that prints its version. */
export type VersionCommand = readonly [name: string, command: string, ...args: string[]];

/** Describes this machine and the programs measured on it; the version is the first one in what they print. */
export async function describeMachine(programs: readonly VersionCommand[]): Promise<Machine> {
  const versions: Record<string, string> = { node: process.versions.node };
  for (const [name, command, ...args] of programs) {
    const { stdout, stderr } = await run(command, args);
    versions[name] = /\d+(\.\d+)+[^\s,]*/.exec(stdout + stderr)?.[0] ?? "unknown";
  }
  return {
    processor: `${cpus()[0]?.model.trim()}, family and model ${cpuField("cpu family")}/${cpuField("model")}`,
    cores: availableParallelism(),
    arch: arch(),
    memoryBytes: totalmem(),
    kernel: release(),
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown",
    versions,
  };
}

/** A field of the first processor in /proc/cpuinfo. */
function cpuField(name: string): string {
  return new RegExp(`^${name}\\s*: (.*)$`, "m").exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "unknown";
}
