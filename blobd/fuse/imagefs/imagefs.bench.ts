/**
 * What an image's files cost through /dev/fuse, beside the same tree unpacked:
 * `node dist/blobd/fuse/imagefs/imagefs.bench.js IMAGE FOLDER [rounds]`, as root.
 *
 * IMAGE is what `blobd imagefs` takes, FOLDER the same tree as a directory, served by `blobd passthrough` read-only, with all
 * caching. Each round mounts anew, so that every name, attribute and page is asked for once; the host has the data cached.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, lstatSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { unmount } from "../../sys/index.ts";

const [image, folder, roundsText = "3"] = process.argv.slice(2);
if (image === undefined || folder === undefined) throw new Error("expected IMAGE and FOLDER");
const BLOBD = fileURLToPath(new URL("../../cli/main.js", import.meta.url));
const MAX_FILES = 20_000;
const page = Buffer.alloc(1 << 20);

/** Paths of regular files, in the order of the tree. */
function filesOf(root: string): string[] {
  const files: string[] = [];
  const visit = (path: string) => {
    for (const entry of readdirSync(join(root, path), { withFileTypes: true })) {
      const below = `${path}/${entry.name}`;
      if (entry.isDirectory()) visit(below);
      else if (entry.isFile() && files.length < MAX_FILES) files.push(below);
    }
  };
  visit("");
  return files;
}

function readWhole(path: string): number {
  const fd = openSync(path, "r");
  let bytes = 0;
  for (let got = 1; got > 0; bytes += got) got = readSync(fd, page);
  closeSync(fd);
  return bytes;
}

/** Processor time of a process's threads so far, in µs. */
function processorUs(pid: number): number {
  const nanos = readdirSync(`/proc/${pid}/task`).map((task) =>
    Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "latin1").split(" ")[0]),
  );
  return nanos.reduce((sum, each) => sum + each, 0) / 1000;
}

type Row = readonly [wallUs: number, serverUs: number];

async function measure(args: readonly string[], paths: readonly string[]): Promise<Map<string, Row>> {
  const target = mkdtempSync(join(tmpdir(), "imagefs-bench-"));
  const child = spawn(process.execPath, [BLOBD, ...args, target], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  const rows = new Map<string, Row>();
  const run = (name: string, operations: number, work: () => void) => {
    const [cpu, start] = [processorUs(child.pid!), performance.now()];
    work();
    const wallUs = (performance.now() - start) * 1000;
    rows.set(name, [wallUs / operations, (processorUs(child.pid!) - cpu) / operations]);
  };
  run("look up and stat", paths.length, () => {
    for (const path of paths) lstatSync(target + path);
  });
  run("open, read, close", paths.length, () => {
    for (const path of paths) readWhole(target + path);
  });
  run("list the tree", paths.length, () => void filesOf(target));
  run("again", paths.length, () => {
    for (const path of paths) readWhole(target + path);
  });
  unmount(target);
  await once(child, "close");
  rmdirSync(target);
  return rows;
}

const common = ["--threads", "1", "--log-level", "warn"];
const cached = ["passthrough", "--read-only", "--cache", "always", ...common, folder];
const SERVERS: Readonly<Record<string, readonly string[]>> = {
  imagefs: ["imagefs", ...common, image],
  passthrough: cached,
};
const paths = filesOf(folder);
let bytes = 0;
for (const path of paths) bytes += readWhole(folder + path);
console.log(
  `${paths.length} files, ${(bytes / 1e6).toFixed()} MB; µs an operation, and the server's processor time of it`,
);
const best = new Map<string, Row>();
for (let round = 0; round < Number(roundsText); round++)
  for (const [server, args] of Object.entries(SERVERS))
    for (const [name, row] of await measure(args, paths)) {
      const key = `${name.padEnd(20)} ${server}`;
      if ((best.get(key)?.[0] ?? Number.POSITIVE_INFINITY) > row[0]) best.set(key, row);
    }
for (const key of [...best.keys()].sort()) {
  const [wallUs, serverUs] = best.get(key)!;
  console.log(`${key.padEnd(36)}${wallUs.toFixed(1).padStart(9)}${serverUs.toFixed(1).padStart(9)}`);
}
