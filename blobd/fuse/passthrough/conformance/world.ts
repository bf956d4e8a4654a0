import { chmodSync, chownSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mknod } from "../../../sys/index.ts";

/** The kinds of files that most calls treat alike. */
export const TYPES = ["regular", "directory", "fifo", "block", "char", "socket", "symlink"] as const;
export type FileType = (typeof TYPES)[number];

/** A user: effective IDs and supplementary groups. */
export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}
export const ROOT: User = { uid: 0, gid: 0, groups: [] };
export const ALICE: User = { uid: 65534, gid: 65533, groups: [65532] };
export const BOB: User = { uid: 65531, gid: 65530, groups: [] };

const [S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK] = [0o010000, 0o020000, 0o060000, 0o140000];
/** A device number that belongs to no driver: major 1, minor 2 are as good as any, nobody opens it. */
const DEVICE = { major: 1, minor: 2 };

/** A place in which a case is tried: an empty directory of its own. */
export class World {
  readonly directory: string;
  constructor(directory: string) {
    this.directory = directory;
  }

  at(...names: string[]): string {
    return join(this.directory, ...names);
  }

  /** Does something as another user. Only this process's own calls: the file system is served by another. */
  as<T>(user: User, work: () => T): T {
    process.setgroups!([...user.groups]);
    process.setegid!(user.gid);
    process.seteuid!(user.uid);
    try {
      return work();
    } finally {
      process.seteuid!(0);
      process.setegid!(0);
      process.setgroups!([]);
    }
  }

  /** Makes a file of a type, mode 0644 or 0755. */
  make(type: FileType, name: string): string {
    const path = this.at(name);
    if (type === "regular") writeFileSync(path, "", { mode: 0o644 });
    else if (type === "directory") mkdirSync(path, 0o755);
    else if (type === "symlink") symlinkSync("nowhere", path);
    else mknod(path, 0o644 | { fifo: S_IFIFO, char: S_IFCHR, block: S_IFBLK, socket: S_IFSOCK }[type], DEVICE);
    return path;
  }
}

/** What a call answers: the error's code, or `ok`. */
export function outcome(work: () => unknown): string {
  try {
    work();
    return "ok";
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === undefined) throw error;
    return code;
  }
}

/** Calls in order, each as its outcome. */
export function outcomes(...work: (() => unknown)[]): string {
  return work.map(outcome).join(" ");
}

/** Times of a file as numbers that can be compared. */
export function times(path: string): { readonly atime: bigint; readonly mtime: bigint; readonly ctime: bigint } {
  const { atimeNs, mtimeNs, ctimeNs } = lstatSync(path, { bigint: true });
  return { atime: atimeNs, mtime: mtimeNs, ctime: ctimeNs };
}

/** Which of a file's times an operation changes, such as `mtime ctime`. */
export function changes(path: string, work: () => void): string {
  const before = times(path);
  pause();
  work();
  const after = times(path);
  return (["mtime", "ctime"] as const).filter((each) => before[each] !== after[each]).join(" ") || "none";
}

/** Longer than the clock by which file systems stamp. */
function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 12);
}

/** Mode bits in octal. */
export function modeOf(path: string): string {
  return (lstatSync(path).mode & 0o7777).toString(8);
}

/** A case: what was found must be what is expected, on the host's file system as on ours. */
export interface Case {
  readonly name: string;
  run(world: World): unknown;
  readonly expected: unknown;
}

/** A file that belongs to Alice. */
export function alices(w: World, mode = 0o644, content = "content"): string {
  writeFileSync(w.at("f"), content);
  chownSync(w.at("f"), ALICE.uid, ALICE.gid);
  chmodSync(w.at("f"), mode);
  chmodSync(w.directory, 0o777);
  return w.at("f");
}
