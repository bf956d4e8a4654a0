/** What every call that takes a path has in common: how names are walked. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { mknod } from "../../../sys/index.ts";
import { ALICE, type Case, outcome, type World } from "./world.ts";

const S_IFIFO = 0o010000;
const close = (fd: number) => closeSync(fd);

/** Calls on a name that exists. */
const ON_EXISTING: Readonly<Record<string, (path: string, w: World) => unknown>> = {
  chmod: (path) => chmodSync(path, 0o600),
  chown: (path) => chownSync(path, 0, 0),
  lchown: (path) => lchownSync(path, 0, 0),
  "link from": (path, w) => linkSync(path, w.at("new-link")),
  "open to read": (path) => close(openSync(path, constants.O_RDONLY)),
  readdir: (path) => readdirSync(path),
  readlink: (path) => readlinkSync(path),
  "rename from": (path, w) => renameSync(path, w.at("new-name")),
  rmdir: (path) => rmdirSync(path),
  stat: (path) => statSync(path),
  truncate: (path) => truncateSync(path, 1),
  unlink: (path) => unlinkSync(path),
  utimes: (path) => utimesSync(path, 1, 1),
  lutimes: (path) => lutimesSync(path, 1, 1),
};

/** Calls that make a name. */
const ON_NEW: Readonly<Record<string, (path: string, w: World) => unknown>> = {
  "link to": (path, w) => linkSync(w.at("file"), path),
  mkdir: (path) => mkdirSync(path),
  mkfifo: (path) => mknod(path, S_IFIFO | 0o644),
  "open to create": (path) => close(openSync(path, constants.O_CREAT | constants.O_WRONLY)),
  "rename to": (path, w) => renameSync(w.at("file"), path),
  symlink: (path) => symlinkSync("somewhere", path),
};
const ALL = { ...ON_EXISTING, ...ON_NEW };

/** A file of Alice's (else fs.protected_hardlinks comes first), a directory that she may not enter, a loop of symlinks. */
function prepare(w: World): void {
  writeFileSync(w.at("file"), "");
  chownSync(w.at("file"), ALICE.uid, ALICE.gid);
  mkdirSync(w.at("closed"));
  writeFileSync(w.at("closed", "inside"), "", { mode: 0o666 });
  chmodSync(w.at("closed"), 0o700);
  symlinkSync("loop-b", w.at("loop-a"));
  symlinkSync("loop-a", w.at("loop-b"));
}

type Call = (path: string, w: World) => unknown;
function each(
  calls: Readonly<Record<string, Call>>,
  what: string,
  expected: string,
  work: (w: World, call: Call) => unknown,
): Case[] {
  return Object.entries(calls).map(([name, call]) => ({
    name: `${name}: ${what}`,
    expected,
    run: (w) => {
      prepare(w);
      return outcome(() => work(w, call));
    },
  }));
}

export const PATH_CASES: readonly Case[] = [
  ...each(ALL, "a component of the path is a file", "ENOTDIR", (w, call) => call(w.at("file", "x"), w)),
  ...each(ALL, "a component of the path is absent", "ENOENT", (w, call) => call(w.at("absent", "x"), w)),
  ...each(ON_EXISTING, "the name is absent", "ENOENT", (w, call) => call(w.at("absent"), w)),
  ...each(ALL, "a name of 256 bytes", "ENAMETOOLONG", (w, call) => call(w.at("n".repeat(256)), w)),
  ...each(ALL, "a path of more than 4096 bytes", "ENAMETOOLONG", (w, call) =>
    call(join(w.directory, "file/".repeat(900), "x"), w),
  ),
  ...each(ON_NEW, "a name of 255 bytes", "ok", (w, call) => call(w.at("n".repeat(255)), w)),
  ...each(ALL, "a component is a symlink that leads to itself", "ELOOP", (w, call) => call(w.at("loop-a", "x"), w)),
  ...each(ALL, "a directory on the way may not be searched", "EACCES", (w, call) =>
    w.as(ALICE, () => call(w.at("closed", "inside"), w)),
  ),
  ...each(ON_NEW, "the directory may not be written to", "EACCES", (w, call) => {
    chmodSync(w.directory, 0o755);
    return w.as(ALICE, () => call(w.at("new"), w));
  }),
];

/** Calls that change something, for a directory that is mounted read-only. `file` and `dir` are there. */
export const READ_ONLY_CALLS: Readonly<Record<string, (at: (name: string) => string) => unknown>> = {
  chmod: (at) => chmodSync(at("file"), 0o600),
  chown: (at) => chownSync(at("file"), 1, 1),
  link: (at) => linkSync(at("file"), at("new")),
  mkdir: (at) => mkdirSync(at("new")),
  mkfifo: (at) => mknod(at("new"), S_IFIFO | 0o644),
  "open to create": (at) => close(openSync(at("new"), constants.O_CREAT | constants.O_WRONLY)),
  "open to truncate": (at) => close(openSync(at("file"), constants.O_RDONLY | constants.O_TRUNC)),
  "open to write": (at) => close(openSync(at("file"), constants.O_WRONLY)),
  rename: (at) => renameSync(at("file"), at("new")),
  rmdir: (at) => rmdirSync(at("dir")),
  symlink: (at) => symlinkSync("x", at("new")),
  truncate: (at) => truncateSync(at("file"), 1),
  unlink: (at) => unlinkSync(at("file")),
  utimes: (at) => utimesSync(at("file"), 1, 1),
};
