/** Making, removing, linking and renaming entries: what is refused, and what it does to files, links and times. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { mknod } from "../../../sys/index.ts";
import { ALICE, BOB, type Case, changes, modeOf, outcome, outcomes, ROOT, TYPES, type World } from "./world.ts";

const S_IFIFO = 0o010000;
const S_IFCHR = 0o020000;
const { O_CREAT, O_EXCL, O_WRONLY } = constants;

const makers: Readonly<Record<string, (path: string) => unknown>> = {
  mkdir: (path) => mkdirSync(path),
  mkfifo: (path) => mknod(path, S_IFIFO | 0o644),
  symlink: (path) => symlinkSync("x", path),
  "open O_CREAT|O_EXCL": (path) => closeSync(openSync(path, O_CREAT | O_EXCL | O_WRONLY)),
};

const exists: Case[] = TYPES.flatMap((type) => [
  ...Object.entries(makers).map(([name, make]) => ({
    name: `${name}: a ${type} has that name`,
    expected: "EEXIST",
    run: (w: World) => outcome(() => make(w.make(type, "there"))),
  })),
  {
    name: `link: a ${type} has the new name`,
    expected: "EEXIST",
    run: (w: World) => {
      writeFileSync(w.at("file"), "");
      const there = w.make(type, "there");
      return outcome(() => linkSync(w.at("file"), there));
    },
  },
  {
    name: `unlink: a ${type}`,
    expected: type === "directory" ? "EISDIR" : "ok ENOENT",
    run: (w: World) => {
      const there = w.make(type, "there");
      const first = outcome(() => unlinkSync(there));
      return first === "ok" ? `${first} ${outcome(() => lstatSync(there))}` : first;
    },
  },
  {
    name: `rmdir: a ${type}`,
    expected: type === "directory" ? "ok" : "ENOTDIR",
    run: (w: World) => outcome(() => rmdirSync(w.make(type, "there"))),
  },
  {
    name: `link: a ${type}, and the count of its links`,
    expected: type === "directory" ? "EPERM" : "2 2 1",
    run: (w: World) => {
      const there = w.make(type, "there");
      const status = outcome(() => linkSync(there, w.at("other")));
      if (status !== "ok") return status;
      const both = `${lstatSync(there).nlink} ${lstatSync(w.at("other")).nlink}`;
      unlinkSync(there);
      return `${both} ${lstatSync(w.at("other")).nlink}`;
    },
  },
  {
    name: `rename: a ${type} keeps its inode, and replaces a file`,
    expected: type === "directory" ? "ENOTDIR" : "same ENOENT",
    run: (w: World) => {
      const there = w.make(type, "there");
      const { ino } = lstatSync(there);
      writeFileSync(w.at("target"), "");
      const status = outcome(() => renameSync(there, w.at("target")));
      if (status !== "ok") return status;
      return `${lstatSync(w.at("target")).ino === ino ? "same" : "other"} ${outcome(() => lstatSync(there))}`;
    },
  },
  {
    name: `rename: a ${type} onto an empty directory`,
    expected: type === "directory" ? "ok" : "EISDIR",
    run: (w: World) => {
      mkdirSync(w.at("target"));
      return outcome(() => renameSync(w.make(type, "there"), w.at("target")));
    },
  },
  {
    name: `unlink: times of the directory, and of the other name of a ${type}`,
    expected: type === "directory" ? "skipped" : "mtime ctime, ctime",
    run: (w: World) => {
      if (type === "directory") return "skipped";
      const there = w.make(type, "there");
      linkSync(there, w.at("other"));
      let own = "";
      const directory = changes(w.directory, () => {
        own = changes(w.at("other"), () => unlinkSync(there));
      });
      return `${directory}, ${own}`;
    },
  },
]);

const rest: Case[] = [
  {
    name: "rmdir, rename: a directory with something in it",
    expected: "ENOTEMPTY ENOTEMPTY",
    run: (w) => {
      mkdirSync(w.at("d", "sub"), { recursive: true });
      mkdirSync(w.at("e"));
      return outcomes(
        () => rmdirSync(w.at("d")),
        () => renameSync(w.at("e"), w.at("d")),
      );
    },
  },
  {
    name: "rename: a directory into itself, onto its parent's name",
    expected: "EINVAL EINVAL ENOTEMPTY",
    run: (w) => {
      mkdirSync(w.at("d", "sub"), { recursive: true });
      return outcomes(
        () => renameSync(w.at("d"), w.at("d", "x")),
        () => renameSync(w.at("d"), w.at("d", "sub", "x")),
        () => renameSync(w.at("d", "sub"), w.at("d")),
      );
    },
  },
  {
    name: "rename: two names of one file are both left",
    expected: "ok ok ok",
    run: (w) => {
      writeFileSync(w.at("a"), "");
      linkSync(w.at("a"), w.at("b"));
      return outcomes(
        () => renameSync(w.at("a"), w.at("b")),
        () => lstatSync(w.at("a")),
        () => lstatSync(w.at("b")),
      );
    },
  },
  {
    name: "rename: a directory moved to another parent takes its .. along, and the parents' links follow",
    expected: [3, 2, 2, 3],
    run: (w) => {
      mkdirSync(w.at("p", "d"), { recursive: true });
      mkdirSync(w.at("q"));
      const before = [lstatSync(w.at("p")).nlink, lstatSync(w.at("q")).nlink];
      renameSync(w.at("p", "d"), w.at("q", "d"));
      return [...before, lstatSync(w.at("p")).nlink, lstatSync(w.at("q")).nlink];
    },
  },
  {
    name: "open: an unlinked file lives on in its descriptor",
    expected: "0 still",
    run: (w) => {
      const fd = openSync(w.at("f"), "w+");
      writeSync(fd, "still");
      unlinkSync(w.at("f"));
      const bytes = Buffer.alloc(5);
      const { nlink } = fstatSync(fd);
      readSync(fd, bytes, 0, 5, 0);
      closeSync(fd);
      return `${nlink} ${bytes}`;
    },
  },
  {
    name: "symlink: targets of up to 4095 bytes, read back as they are; an empty one",
    expected: "ok true ENAMETOOLONG ENOENT",
    run: (w) => {
      const target = "t".repeat(4095);
      const made = outcome(() => symlinkSync(target, w.at("l")));
      const more = outcomes(
        () => symlinkSync(`${target}t`, w.at("m")),
        () => symlinkSync("", w.at("n")),
      );
      return `${made} ${readlinkSync(w.at("l")) === target} ${more}`;
    },
  },
  ...Object.entries({ ...makers, link: (path: string) => linkSync(`${path}-old`, path) }).map(([name, make]) => ({
    name: `${name}: times of the directory; none when it fails`,
    expected: "mtime ctime, none",
    run: (w: World) => {
      writeFileSync(w.at("new-old"), "");
      const made = changes(w.directory, () => void make(w.at("new")));
      return `${made}, ${changes(w.directory, () => void outcome(() => make(w.at("new"))))}`;
    },
  })),
  {
    name: "new files belong to who makes them; the umask takes from their modes",
    expected: "65534:65533 640 750 640 640",
    run: (w) => {
      chmodSync(w.directory, 0o777);
      const umask = process.umask(0o027);
      w.as(ALICE, () => {
        writeFileSync(w.at("f"), "");
        mkdirSync(w.at("d"));
        mknod(w.at("p"), S_IFIFO | 0o666);
        mknod(w.at("r"), 0o100666);
      });
      process.umask(umask);
      const { uid, gid } = lstatSync(w.at("f"));
      return `${uid}:${gid} ${["f", "d", "p", "r"].map((name) => modeOf(w.at(name))).join(" ")}`;
    },
  },
  {
    name: "new files in a set-group-ID directory take its group, directories the bit too",
    expected: [65530, 65530, "2755"],
    run: (w) => {
      mkdirSync(w.at("g"));
      chownSync(w.at("g"), 0, BOB.gid);
      chmodSync(w.at("g"), 0o2777);
      w.as(ALICE, () => {
        writeFileSync(w.at("g", "f"), "");
        mkdirSync(w.at("g", "d"), 0o755);
      });
      return [lstatSync(w.at("g", "f")).gid, lstatSync(w.at("g", "d")).gid, modeOf(w.at("g", "d"))];
    },
  },
  {
    name: "mknod: a device needs root, a fifo does not",
    expected: "EPERM ok",
    run: (w) => {
      chmodSync(w.directory, 0o777);
      return w.as(ALICE, () =>
        outcomes(
          () => mknod(w.at("c"), S_IFCHR | 0o600, { major: 1, minor: 3 }),
          () => mknod(w.at("p"), S_IFIFO | 0o600),
        ),
      );
    },
  },
  ...sticky(),
];

/** A directory with the sticky bit: who may remove and rename what is in it. */
function sticky(): Case[] {
  const users = [ROOT, ALICE, BOB];
  const name = (user: typeof ROOT) => (user === ROOT ? "root" : user === ALICE ? "Alice" : "Bob");
  return users.flatMap((directoryOwner) =>
    users.map((fileOwner) => ({
      name: `sticky directory of ${name(directoryOwner)}, file of ${name(fileOwner)}: what Alice may do`,
      expected: directoryOwner === ALICE || fileOwner === ALICE ? "ok ok ok" : "EPERM EPERM EPERM",
      run: (w: World) => {
        mkdirSync(w.at("s"));
        chownSync(w.at("s"), directoryOwner.uid, directoryOwner.gid);
        chmodSync(w.at("s"), 0o1777);
        for (const each of ["unlinked", "renamed", "replaced"]) {
          writeFileSync(w.at("s", each), each);
          chownSync(w.at("s", each), fileOwner.uid, fileOwner.gid);
        }
        writeFileSync(w.at("s", "own"), "");
        chownSync(w.at("s", "own"), ALICE.uid, ALICE.gid);
        return w.as(ALICE, () =>
          outcomes(
            () => unlinkSync(w.at("s", "unlinked")),
            () => renameSync(w.at("s", "renamed"), w.at("s", "new")),
            () => renameSync(w.at("s", "own"), w.at("s", "replaced")),
          ),
        );
      },
    })),
  );
}

export const ENTRY_CASES: readonly Case[] = [...exists, ...rest];
