/** Modes, owners, sizes and opening of files. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  ftruncateSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { ALICE, alices, BOB, type Case, changes, modeOf, outcome, outcomes, TYPES, type World } from "./world.ts";

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } =
  constants;
const open = (path: string, flags: number) => closeSync(openSync(path, flags, 0o644));
const modes: Case[] = [
  ...TYPES.filter((type) => type !== "symlink").flatMap((type) => [
    {
      name: `chmod: a ${type}: all bits, and its ctime`,
      expected: "7777 111 ctime",
      run: (w: World) => {
        const path = w.make(type, "x");
        chmodSync(path, 0o7777);
        const first = modeOf(path);
        return `${first} ${((change) => `${modeOf(path)} ${change}`)(changes(path, () => chmodSync(path, 0o111)))}`;
      },
    },
    {
      name: `chown: a ${type}: owner, group, and its ctime`,
      expected: [123, 456, 123, 789, "ctime"],
      run: (w: World) => {
        const path = w.make(type, "x");
        const change = changes(path, () => chownSync(path, 123, 456));
        const { uid, gid } = lstatSync(path);
        chownSync(path, -1, 789);
        const after = lstatSync(path);
        return [uid, gid, after.uid, after.gid, change];
      },
    },
    {
      name: `chown: owner and group both -1 of a ${type}`,
      expected: "ctime",
      run: (w: World) => {
        const path = w.make(type, "x");
        return changes(path, () => chownSync(path, -1, -1));
      },
    },
  ]),
  {
    name: "chmod: only the owner and root",
    expected: "EPERM ok ok",
    run: (w) => {
      const path = alices(w);
      return [
        w.as(BOB, () => outcome(() => chmodSync(path, 0))),
        w.as(ALICE, () => outcome(() => chmodSync(path, 0o640))),
        outcome(() => chmodSync(path, 0o600)),
      ].join(" ");
    },
  },
  {
    name: "chmod: the set-group-ID bit goes when the owner is not of the file's group",
    expected: "755 2755",
    run: (w) => {
      const path = alices(w);
      chownSync(path, ALICE.uid, BOB.gid);
      w.as(ALICE, () => chmodSync(path, 0o2755));
      const foreign = modeOf(path);
      chownSync(path, ALICE.uid, ALICE.groups[0]!);
      w.as(ALICE, () => chmodSync(path, 0o2755));
      return `${foreign} ${modeOf(path)}`;
    },
  },
  {
    name: "chown: the owner may give it to a group of theirs, and to nobody",
    expected: "ok EPERM EPERM EPERM",
    run: (w) => {
      const path = alices(w);
      const own = w.as(ALICE, () =>
        outcomes(
          () => chownSync(path, -1, ALICE.groups[0]!),
          () => chownSync(path, -1, BOB.gid),
          () => chownSync(path, BOB.uid, -1),
        ),
      );
      return `${own} ${w.as(BOB, () => outcome(() => chownSync(path, -1, BOB.gid)))}`;
    },
  },
  {
    name: "chown by the owner takes the set-ID bits of a file, not of a directory",
    expected: "555 6555",
    run: (w) => {
      const path = alices(w, 0o6555);
      mkdirSync(w.at("d"));
      chownSync(w.at("d"), ALICE.uid, ALICE.gid);
      chmodSync(w.at("d"), 0o6555);
      w.as(ALICE, () => {
        chownSync(path, ALICE.uid, ALICE.groups[0]!);
        chownSync(w.at("d"), ALICE.uid, ALICE.groups[0]!);
      });
      return `${modeOf(path)} ${modeOf(w.at("d"))}`;
    },
  },
  {
    name: "lchown: a symlink itself",
    expected: [7, 8],
    run: (w) => {
      const path = w.make("symlink", "l");
      lchownSync(path, 7, 8);
      const { uid, gid } = lstatSync(path);
      return [uid, gid];
    },
  },
  ...[
    ["writing", (path: string) => writeFileSync(path, "x", { flag: "r+" })],
    ["truncating", (path: string) => truncateSync(path, 1)],
  ].map(([name, work]) => ({
    name: `${name as string} by another user takes the set-ID bits`,
    expected: "777",
    run: (w: World) => {
      const path = alices(w, 0o6777);
      w.as(BOB, () => (work as (path: string) => void)(path));
      return modeOf(path);
    },
  })),
];

const sizes: Case[] = [
  {
    name: "truncate: grows with zeros, cuts, keeps the rest; mtime and ctime",
    expected: "con mtime ctime 7 con\0\0\0\0",
    run: (w) => {
      const path = alices(w);
      const change = changes(path, () => truncateSync(path, 3));
      const cut = readFileSync(path, "latin1");
      truncateSync(path, 7);
      return `${cut} ${change} ${statSync(path).size} ${readFileSync(path, "latin1")}`;
    },
  },
  {
    name: "truncate: needs permission to write; a directory; a file being large",
    expected: "EACCES EISDIR ok EFBIG",
    run: (w) => {
      const path = alices(w, 0o444);
      mkdirSync(w.at("d"));
      return [
        w.as(BOB, () => outcome(() => truncateSync(path, 1))),
        outcome(() => truncateSync(w.at("d"), 1)),
        outcome(() => truncateSync(path, 2 ** 40)),
        outcome(() => truncateSync(path, 2 ** 52)),
      ].join(" ");
    },
  },
  {
    name: "ftruncate: a descriptor opened for reading; one opened for writing, whatever the mode is now",
    expected: "EINVAL ok",
    run: (w) => {
      const path = alices(w);
      const [reading, writing] = [openSync(path, "r"), openSync(path, "r+")];
      chmodSync(path, 0);
      const result = w.as(BOB, () =>
        outcomes(
          () => ftruncateSync(reading, 1),
          () => ftruncateSync(writing, 1),
        ),
      );
      closeSync(reading);
      closeSync(writing);
      return result;
    },
  },
];

const opening: Case[] = [
  {
    name: "open: permissions of owner, group and others",
    expected: "ok EACCES EACCES | EACCES ok EACCES | EACCES EACCES EACCES",
    run: (w) => {
      const path = alices(w, 0o420);
      const try_ = () =>
        outcomes(
          () => open(path, O_RDONLY),
          () => open(path, O_WRONLY),
          () => open(path, O_RDWR),
        );
      const group = { uid: BOB.uid, gid: ALICE.gid, groups: [] };
      return [ALICE, group, BOB].map((user) => w.as(user, try_)).join(" | ");
    },
  },
  {
    name: "open: O_TRUNC, O_APPEND, O_EXCL, O_DIRECTORY, O_NOFOLLOW",
    expected: "0 contentmore EEXIST ENOTDIR ELOOP EISDIR ENOENT",
    run: (w) => {
      const path = alices(w);
      const appending = openSync(path, O_WRONLY | O_APPEND);
      writeSync(appending, "more");
      closeSync(appending);
      const content = readFileSync(path, "latin1");
      const link = w.make("symlink", "l");
      const results = outcomes(
        () => open(path, O_CREAT | O_EXCL | O_WRONLY),
        () => open(path, O_RDONLY | O_DIRECTORY),
        () => open(link, O_RDONLY | O_NOFOLLOW),
        () => open(w.directory, O_WRONLY),
        () => open(w.at("absent"), O_RDONLY),
      );
      open(path, O_WRONLY | O_TRUNC);
      return `${statSync(path).size} ${content} ${results}`;
    },
  },
  {
    name: "open: O_TRUNC needs permission to write, and changes times",
    expected: "EACCES mtime ctime",
    run: (w) => {
      const path = alices(w, 0o444);
      const refused = w.as(BOB, () => outcome(() => open(path, O_RDONLY | O_TRUNC)));
      return `${refused} ${changes(path, () => open(path, O_WRONLY | O_TRUNC))}`;
    },
  },
  {
    name: "open: a fifo without a reader, a socket",
    expected: "ENXIO ok ENXIO",
    run: (w) => {
      const [fifo, socket] = [w.make("fifo", "p"), w.make("socket", "s")];
      return outcomes(
        () => open(fifo, O_WRONLY | O_NONBLOCK),
        () => open(fifo, O_RDONLY | O_NONBLOCK),
        () => open(socket, O_RDONLY),
      );
    },
  },
  {
    name: "open: a new file whose mode forbids writing is open for writing",
    expected: "written",
    run: (w) => {
      chmodSync(w.directory, 0o777);
      w.as(ALICE, () => {
        const fd = openSync(w.at("f"), O_CREAT | O_WRONLY, 0o444);
        writeSync(fd, "written");
        closeSync(fd);
      });
      return readFileSync(w.at("f"), "latin1");
    },
  },
];

export const FILE_CASES: readonly Case[] = [...modes, ...sizes, ...opening];
