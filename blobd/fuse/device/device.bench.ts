/**
 * What a request through /dev/fuse costs: `node dist/blobd/fuse/device/device.bench.js [folder]`, as root.
 *
 * The same calls on a folder, and on a mount of `blobd passthrough --cache never` over it, where each reaches the server. A
 * name is looked up by path, so that its row has the requests for the folder's permissions in it. The server's processor
 * time is that of all its threads (schedstat); the rest of the wall time is the kernel's and the caller's, and waiting.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { unmount } from "../../sys/index.ts";

const ROUNDS = 20_000;
const FILE_BYTES = 16 << 20;
const UNIT = 4096;

type Row = readonly [name: string, operations: number, work: (index: number) => unknown];

function rows(folder: string): { rows: readonly Row[]; close: () => void } {
  const path = join(folder, "file");
  const fd = openSync(path, "w+");
  const large = Buffer.alloc(1 << 20, 1);
  for (let at = 0; at < FILE_BYTES; at += large.length) writeSync(fd, large, 0, large.length, at);
  const page = Buffer.alloc(UNIT, 2);
  const place = (index: number, unit: number) => (index * unit) % FILE_BYTES;
  return {
    rows: [
      ["fstat", ROUNDS, () => fstatSync(fd)],
      ["stat by path", ROUNDS, () => statSync(path)],
      ["read 4 KiB", ROUNDS, (index) => readSync(fd, page, 0, UNIT, place(index, UNIT))],
      ["write 4 KiB", ROUNDS, (index) => writeSync(fd, page, 0, UNIT, place(index, UNIT))],
      ["open and close", ROUNDS, () => closeSync(openSync(path, "r"))],
      ["read 1 MiB", ROUNDS / 40, (index) => readSync(fd, large, 0, large.length, place(index, large.length))],
      ["write 1 MiB", ROUNDS / 40, (index) => writeSync(fd, large, 0, large.length, place(index, large.length))],
    ],
    close: () => closeSync(fd),
  };
}

/** Processor time of a process's threads so far, in µs. */
function processorUs(pid: number): number {
  const nanos = readdirSync(`/proc/${pid}/task`).map((task) =>
    Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "latin1").split(" ")[0]),
  );
  return nanos.reduce((sum, each) => sum + each, 0) / 1000;
}

function measure(folder: string, pid: number | undefined): Map<string, readonly [wallUs: number, serverUs: number]> {
  const { rows: list, close } = rows(folder);
  const results = new Map<string, readonly [number, number]>();
  // The first round is for the compilers.
  for (let round = 0; round < 2; round++)
    for (const [name, operations, work] of list) {
      const [cpu, start] = [pid === undefined ? 0 : processorUs(pid), performance.now()];
      for (let index = 0; index < operations; index++) work(index);
      const wallUs = (performance.now() - start) * 1000;
      const serverUs = pid === undefined ? 0 : processorUs(pid) - cpu;
      results.set(name, [wallUs / operations, serverUs / operations]);
    }
  close();
  return results;
}

const directory = mkdtempSync(join(process.argv[2] ?? "/tmp", "device-bench-"));
const [source, target] = [join(directory, "source"), join(directory, "target")];
mkdirSync(source);
mkdirSync(target);
const cli = fileURLToPath(new URL("../../cli/main.js", import.meta.url));
const args = [cli, "passthrough", "--cache", "never", "--threads", "1", "--log-level", "warn", source, target];
const server = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
await once(server.stdout, "data");
const native = measure(source, undefined);
const mounted = measure(target, server.pid);
unmount(target);
await once(server, "close");
rmSync(directory, { recursive: true });

const shown = (value: number) => value.toFixed(1).padStart(9);
console.log(`${"µs an operation".padEnd(16)}     host    mount   server's processor`);
for (const [name, [wallUs, serverUs]] of mounted)
  console.log(`${name.padEnd(16)}${shown(native.get(name)![0])}${shown(wallUs)}${shown(serverUs)}`);
