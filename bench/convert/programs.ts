import { fileURLToPath } from "node:url";
import { type Server, startServer } from "../../builder/testkit/index.ts";
import type { Command } from "../kit/index.ts";

// This file is dist/bench/convert/programs.js when it runs.
const EROFSIFY = fileURLToPath(new URL("../../bin/erofsify.js", import.meta.url));
const RUN_IN_LAB = fileURLToPath(new URL("../../../samples/lab/run-in-lab.sh", import.meta.url));

/** The command line `erofsify …`. */
export function erofsify(args: readonly string[], env: Readonly<Record<string, string>> = {}): Command {
  return { command: process.execPath, args: [EROFSIFY, ...args], env };
}

/** The command line of a program that lies beside this file. */
export function program(name: string, ...args: readonly string[]): Command {
  return { command: process.execPath, args: [fileURLToPath(new URL(name, import.meta.url)), ...args] };
}

/** A shell script's command line; `args` are $1 and so on. */
export function shell(script: string, ...args: readonly string[]): Command {
  return { command: "sh", args: ["-c", script, "sh", ...args] };
}

/** The lab, entered: commands run in it without the cost of setting it up. */
export interface Lab {
  command(name: string, ...args: readonly string[]): Command;
  stop(): Promise<void>;
}

/** @param paths of the host, seen at the same place inside. Needs root. */
export async function enterLab(paths: readonly string[]): Promise<Lab> {
  const holder = ["sh", "-c", "echo entered; exec sleep infinity"];
  const args = ["--part", "utils", ...paths.flatMap((path) => ["--bind", path]), "--", ...holder];
  const server: Server = await startServer(RUN_IN_LAB, args, /entered/);
  return {
    command: (name, ...rest) => ({
      command: "nsenter",
      args: ["--target", `${server.child.pid}`, "--mount", "--", name, ...rest],
    }),
    stop: () => server.stop(),
  };
}
