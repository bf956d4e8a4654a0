import { closeSync, readFileSync, writeFileSync } from "node:fs";
import { createMount, POLLERR, PollSet } from "../../sys/index.ts";

/** Where fusectl is mounted on every common system. */
const FUSECTL = "/sys/fs/fuse/connections";

/** A mount of FUSE, as /proc/self/mountinfo shows it. */
export interface FuseMountEntry {
  /** Number of the connection: its folder in fusectl. */
  readonly connection: number;
  readonly type: string;
  readonly source: string;
}

/**
 * The FUSE mount on top of `target`, found without touching it: a mount whose server hangs, or is gone, would not answer.
 * @param target an absolute path without symlinks
 */
export function findFuseMount(
  target: string,
  mountInfo = readFileSync("/proc/self/mountinfo", "latin1"),
): FuseMountEntry | null {
  let found: FuseMountEntry | null = null;
  const wanted = Buffer.from(target, "utf8").toString("latin1");
  for (const line of mountInfo.split("\n")) {
    // 36 35 0:98 / /mnt rw,noatime shared:1 - fuse.blobd source rw,user_id=0 (proc_pid_mountinfo(5))
    const [front = "", back = ""] = line.split(" - ");
    const fields = front.split(" ");
    if (fields.length < 6 || unescapeOctal(fields[4]!) !== wanted) continue;
    const [type = "", source = ""] = back.split(" ");
    const isFuse = type === "fuse" || type.startsWith("fuse.");
    found = isFuse ? { connection: Number(fields[2]!.split(":")[1]), type, source: unescapeOctal(source) } : null;
  }
  return found;
}

/**
 * Whether a descriptor of /dev/fuse still has its connection. When the mount has gone, the connection's number may be that
 * of another mount already.
 */
export function isConnected(fd: number): boolean {
  const set = new PollSet(1);
  set.add(fd, 0);
  set.wait(0);
  return (set.ready(0) & POLLERR) === 0;
}

/**
 * Aborts a connection: every request on it fails with ECONNABORTED, whoever waits is let go, the server's reads end.
 * @returns false when we may not: then it ends with the server's process.
 */
export function abortConnection(connection: number): boolean {
  return writeAbort(`${FUSECTL}/${connection}/abort`) || abortByOwnFusectl(connection);
}

function writeAbort(path: string): boolean {
  try {
    writeFileSync(path, "1", { flag: "r+" });
    return true;
  } catch {
    return false;
  }
}

/** Where fusectl is not mounted root has one of its own, mounted nowhere. */
function abortByOwnFusectl(connection: number): boolean {
  try {
    const root = createMount({ type: "fusectl", source: "fusectl", options: [] });
    try {
      return writeAbort(`/proc/self/fd/${root}/${connection}/abort`);
    } finally {
      closeSync(root);
    }
  } catch {
    return false;
  }
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
