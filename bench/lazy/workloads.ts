/** What guests do when they have started. */
import type { ErofsReader } from "../../formats/erofs/index.ts";
import { S_IFDIR, S_IFREG } from "../../formats/tree/index.ts";

export const WORKLOAD_IDS = ["shell", "python", "gcc", "one", "all"] as const;
export type WorkloadId = (typeof WORKLOAD_IDS)[number];

export interface Workload {
  readonly id: WorkloadId;
  readonly name: string;
  /** For the image's shell. */
  readonly script: string;
  /** A list of all there is says nothing. */
  readonly isListed: boolean;
}

/** Of the image's content that `one` reads. */
const SHARE = 0.01;
/** Files that are picked for it, in bytes. */
const LEAST = 8 << 10;
const MOST = 512 << 10;

export function workloads(image: ErofsReader): Workload[] {
  const files = someFiles(image).join(" ");
  return [
    { id: "shell", name: "a shell's first output", script: "true", isListed: true },
    {
      id: "python",
      name: "python3 imports",
      script: "python3 -c 'import json, ssl, email.message, http.client, sqlite3, logging.config, argparse, asyncio'",
      isListed: true,
    },
    {
      id: "gcc",
      name: "gcc compiles, links and runs a file",
      script: `printf '#include <stdio.h>\\nint main(void) { return !puts("compiled"); }\\n' >/tmp/a.c && gcc -O2 -o /tmp/a /tmp/a.c && /tmp/a >/dev/null`,
      isListed: true,
    },
    { id: "one", name: "1 % of the content read, here and there", script: `cat ${files} >/dev/null`, isListed: true },
    // The small ones are many: their names would take a minute under emulation, and they are little of the content.
    {
      id: "all",
      name: "all files of 16 KiB and more read",
      script: "find / -xdev -type f -size +15k -exec cat {} + >/dev/null",
      isListed: false,
    },
  ];
}

/** Paths of files of middling size, evenly from the whole tree, that are SHARE of the content together. */
function someFiles(image: ErofsReader): string[] {
  const candidates: { readonly path: string; readonly size: number }[] = [];
  let content = 0;
  const left = [{ path: "", nid: image.rootNid }];
  for (let at = left.pop(); at !== undefined; at = left.pop())
    for (const { name, nid } of image.readdir(image.inode(at.nid))) {
      if (name === "." || name === "..") continue;
      const path = `${at.path}/${name}`;
      const { type, size } = image.inode(nid);
      if (type === S_IFDIR) left.push({ path, nid });
      if (type !== S_IFREG) continue;
      content += size;
      if (size >= LEAST && size <= MOST && /^[\w./+-]+$/.test(path)) candidates.push({ path, size });
    }
  candidates.sort((a, b) => (a.path < b.path ? -1 : 1));
  const average = candidates.reduce((sum, { size }) => sum + size, 0) / candidates.length;
  const step = Math.max(1, Math.floor((candidates.length * average) / (content * SHARE)));
  return candidates.filter((_, i) => i % step === 0).map(({ path }) => path);
}
