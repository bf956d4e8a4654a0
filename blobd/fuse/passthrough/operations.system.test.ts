import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  constants,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { constants as os, tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { SetattrFlag, WriteFlag } from "../../../formats/fuse/index.ts";
import { mount, mountErofs, unmount } from "../../sys/index.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough, type PassthroughConfig } from "./index.ts";
import { Client, refusal } from "./testing.ts";

const { ENOENT, EEXIST, EROFS, EINVAL, ENOTEMPTY, ELOOP, ESTALE, EBADF, EPERM, EXDEV } = os.errno;
const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND } = constants;
const ROOT = 1;
const isRoot = process.geteuid!() === 0;

const work = mkdtempSync(join(tmpdir(), "passthrough-"));
const mounted: string[] = [];
after(() => {
  for (const target of mounted.reverse()) unmount(target, { lazy: true });
  rmSync(work, { recursive: true });
});

/** File systems to run on, each an empty directory. */
function places(): [name: string, path: string][] {
  const plain = join(work, "plain");
  mkdirSync(plain);
  const all: [string, string][] = [["the disk's", plain]];
  if (!isRoot) return all;
  const tmp = join(work, "tmpfs");
  mkdirSync(tmp);
  mount({ type: "tmpfs", source: "tmpfs", target: tmp, options: [] });
  mounted.push(tmp);
  all.push(["tmpfs", tmp]);
  const [lower, upper, workDir, merged] = ["lower", "upper", "work", "merged"].map((name) => join(tmp, "o", name));
  for (const dir of [lower, upper, workDir, merged]) mkdirSync(dir!, { recursive: true });
  const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${workDir}`];
  mount({ type: "overlay", source: "overlay", target: merged!, options });
  mounted.push(merged!);
  all.push(["overlay", merged!]);
  return all;
}

function serve(config: PassthroughConfig): Client {
  const shared = createPassthroughShared(config);
  after(() => closePassthroughShared(config, shared));
  return new Client(openPassthrough(config, shared));
}

for (const [name, path] of places())
  for (const inodeFileHandles of ["auto", "never"] as const)
    describe(`${name} file system, inodes by ${inodeFileHandles === "auto" ? "handles" : "descriptors"}`, () => {
      const dir = join(path, `export-${inodeFileHandles}`);
      mkdirSync(dir);
      const on = (file: string) => join(dir, file);
      const client = serve({ source: dir, inodeFileHandles, submounts: true });

      test("attributes are the host's", () => {
        writeFileSync(on("file"), "hello");
        chmodSync(on("file"), 0o640);
        const entry = client.lookup(ROOT, "file");
        const stat = statSync(on("file"));
        for (const field of ["mode", "size", "ino", "uid", "gid", "nlink"] as const)
          assert.equal(entry[field], stat[field], field);
        assert.deepEqual(client.getattr(entry.nodeId), entry);
        assert.equal(client.lookup(ROOT, "file").nodeId, entry.nodeId, "the same node");
        assert.equal(
          refusal(() => client.lookup(ROOT, "absent")),
          ENOENT,
        );
      });

      test("what is written is there, and read back", () => {
        const made = client.create(ROOT, "data", O_RDWR | O_CREAT | O_EXCL, 0o600);
        const data = Buffer.alloc(300_000, "0123456789");
        assert.equal(client.write(made.nodeId, made.fh, 0, data), data.length);
        assert.deepEqual(client.read(made.nodeId, made.fh, 5, 100_000), data.subarray(5, 100_005));
        assert.deepEqual(readFileSync(on("data")), data);
        assert.equal(client.read(made.nodeId, made.fh, 299_990, 100).length, 10);
        client.release(made.nodeId, made.fh);
        assert.equal(
          refusal(() => client.read(made.nodeId, made.fh, 0, 1)),
          EBADF,
        );
        const fh = client.open(made.nodeId, O_WRONLY | O_TRUNC);
        assert.equal(statSync(on("data")).size, 0);
        client.release(made.nodeId, fh);
      });

      test("an existing file is opened by CREATE, unless it must be new", () => {
        writeFileSync(on("there"), "old");
        const opened = client.create(ROOT, "there", O_RDWR | O_CREAT);
        assert.equal(client.read(opened.nodeId, opened.fh, 0, 9).toString(), "old");
        client.release(opened.nodeId, opened.fh);
        assert.equal(
          refusal(() => client.create(ROOT, "there", O_RDWR | O_CREAT | O_EXCL)),
          EEXIST,
        );
      });

      test("a file opened for appending is appended to, wherever the other side believes the end is", () => {
        writeFileSync(on("log"), "one\n");
        const { nodeId } = client.lookup(ROOT, "log");
        const fh = client.open(nodeId, O_WRONLY | O_APPEND);
        writeFileSync(on("log"), "one\ntwo\n");
        client.write(nodeId, fh, 4, Buffer.from("three\n"));
        assert.equal(readFileSync(on("log"), "utf8"), "one\ntwo\nthree\n");
        client.release(nodeId, fh);
      });

      test("directories, links, renames and removals", () => {
        const sub = client.mkdir(ROOT, "sub", 0o750);
        assert.equal(statSync(on("sub")).mode & 0o7777, 0o750);
        writeFileSync(on("sub/a"), "a");
        const a = client.lookup(sub.nodeId, "a");
        const linked = client.link(a.nodeId, ROOT, "b");
        assert.equal(linked.nodeId, a.nodeId);
        assert.equal(linked.nlink, 2);
        client.rename(sub.nodeId, "a", ROOT, "c");
        assert.equal(readFileSync(on("c"), "utf8"), "a");
        client.rename(ROOT, "b", ROOT, "sub", 2);
        assert.ok(lstatSync(on("b")).isDirectory(), "exchanged");
        assert.equal(
          refusal(() => client.rename(ROOT, "c", ROOT, "sub", 1)),
          EEXIST,
        );
        const link = client.symlink(ROOT, "link", "../outside");
        assert.equal(client.readlink(link.nodeId), "../outside");
        assert.equal(readlinkSync(on("link")), "../outside");
        assert.equal(
          refusal(() => client.readlink(a.nodeId)),
          EINVAL,
        );
        for (const file of ["sub", "c", "link"]) client.unlink(ROOT, file);
        client.mkdir(client.lookup(ROOT, "b").nodeId, "full");
        assert.equal(
          refusal(() => client.rmdir(ROOT, "b")),
          ENOTEMPTY,
        );
        client.rmdir(client.lookup(ROOT, "b").nodeId, "full");
        client.rmdir(ROOT, "b");
        assert.equal(
          refusal(() => client.rmdir(ROOT, "b")),
          ENOENT,
        );
      });

      test("a file that is removed while it is open stays readable", () => {
        const made = client.create(ROOT, "gone", O_RDWR | O_CREAT);
        client.write(made.nodeId, made.fh, 0, Buffer.from("still here"));
        client.unlink(ROOT, "gone");
        assert.equal(client.read(made.nodeId, made.fh, 0, 99).toString(), "still here");
        assert.equal(client.getattr(made.nodeId, made.fh).nlink, 0);
        client.release(made.nodeId, made.fh);
      });

      test("an inode number that is used again is another node", () => {
        const seen = new Set<number>();
        for (let round = 0; round < 20; round++) {
          const made = client.create(ROOT, "again", O_RDWR | O_CREAT | O_EXCL);
          client.release(made.nodeId, made.fh);
          assert.ok(!seen.has(made.nodeId), "a node that was removed is not found again");
          seen.add(made.nodeId);
          client.unlink(ROOT, "again");
        }
        for (const nodeId of seen) client.forget(nodeId);
      });

      for (const plus of [false, true])
        test(`a directory of 1000 entries is read ${plus ? "with attributes" : "by name"}, in replies of any size`, () => {
          mkdirSync(on(`many-${plus}`));
          for (let i = 0; i < 1000; i++) writeFileSync(on(`many-${plus}/${"n".repeat(i % 90)}${i}`), "");
          const { nodeId } = client.lookup(ROOT, `many-${plus}`);
          const expected = readdirSync(on(`many-${plus}`)).sort();
          for (const bytes of [512, 4096, 100_000, 1 << 20])
            assert.deepEqual(client.list(nodeId, { bytes, plus }), expected, `${bytes} bytes`);
        });

      test("a directory goes on from any offset that was told", () => {
        mkdirSync(on("seek"));
        for (let i = 0; i < 300; i++) writeFileSync(on(`seek/${i}`), "");
        const { nodeId } = client.lookup(ROOT, "seek");
        const fh = client.opendir(nodeId);
        const all = client.readdirOnce(nodeId, fh, 0n, 1 << 20, false);
        for (const at of [0, 1, 150, 299])
          assert.deepEqual(
            client.readdirOnce(nodeId, fh, all[at]!.off, 1 << 20, false).map(({ name }) => name),
            all.slice(at + 1).map(({ name }) => name),
          );
        client.releasedir(nodeId, fh);
      });

      test("modes, owners, sizes and times are set", () => {
        writeFileSync(on("set"), "0123456789");
        const { nodeId } = client.lookup(ROOT, "set");
        assert.equal(client.setattr(nodeId, SetattrFlag.MODE, { mode: 0o4711 }).mode & 0o7777, 0o4711);
        assert.equal(client.setattr(nodeId, SetattrFlag.SIZE, { size: 5 }).size, 5);
        assert.equal(client.setattr(nodeId, SetattrFlag.SIZE, { size: 5000 }).size, 5000);
        client.setattr(nodeId, SetattrFlag.ATIME | SetattrFlag.MTIME, {
          atime: 77,
          atimensec: 5,
          mtime: -1_000_000,
          mtimensec: 7,
        });
        const stat = statSync(on("set"), { bigint: true });
        assert.equal(stat.atimeNs, 77_000_000_005n);
        if (name !== "the disk's") assert.equal(stat.mtimeNs, -999_999_999_999_993n);
        client.setattr(nodeId, SetattrFlag.MTIME | SetattrFlag.MTIME_NOW, {});
        assert.ok(Date.now() - statSync(on("set")).mtimeMs < 60_000);
        assert.equal(statSync(on("set"), { bigint: true }).atimeNs, 77_000_000_005n, "the other time stays");
        if (!isRoot) return;
        const owned = client.setattr(nodeId, SetattrFlag.UID | SetattrFlag.GID, { uid: 1234, gid: 4321 });
        assert.deepEqual([owned.uid, owned.gid], [1234, 4321]);
        const link = client.symlink(ROOT, "owned-link", "set");
        client.setattr(link.nodeId, SetattrFlag.UID, { uid: 55 });
        assert.equal(lstatSync(on("owned-link")).uid, 55);
        assert.equal(statSync(on("set")).uid, 1234, "not what it points to");
      });

      test("new files are their creators'", { skip: !isRoot && "needs root" }, () => {
        client.uid = 1000;
        client.gid = 1001;
        const made = client.create(ROOT, "mine", O_RDWR | O_CREAT | O_EXCL, 0o644);
        client.release(made.nodeId, made.fh);
        const dir = client.mkdir(ROOT, "my-dir");
        const link = client.symlink(ROOT, "my-link", "x");
        const fifo = client.mknod(ROOT, "my-fifo", 0o010644);
        client.uid = 0;
        client.gid = 0;
        for (const entry of [made, dir, link, fifo]) assert.deepEqual([entry.uid, entry.gid], [1000, 1001]);
        const roots = client.mkdir(ROOT, "roots");
        assert.deepEqual([roots.uid, roots.gid], [0, 0], "the next one is root's again");
      });

      test("writes of who may not keep them take set-user-ID bits away", { skip: !isRoot && "needs root" }, () => {
        writeFileSync(on("suid"), "x");
        chmodSync(on("suid"), 0o4755);
        const { nodeId } = client.lookup(ROOT, "suid");
        const fh = client.open(nodeId, O_WRONLY);
        client.write(nodeId, fh, 0, Buffer.from("y"));
        assert.equal(statSync(on("suid")).mode & 0o7777, 0o4755);
        client.write(nodeId, fh, 0, Buffer.from("z"), WriteFlag.KILL_SUIDGID);
        assert.equal(statSync(on("suid")).mode & 0o7777, 0o755);
        client.release(nodeId, fh);
      });

      test("fifos, devices and symlinks are never opened", () => {
        execFileSync("mkfifo", [on("fifo")]);
        if (isRoot) execFileSync("mknod", [on("null"), "c", "1", "3"]);
        symlinkSync("/etc/passwd", on("passwd"));
        for (const file of isRoot ? ["fifo", "null", "passwd"] : ["fifo", "passwd"]) {
          const { nodeId } = client.lookup(ROOT, file);
          for (const flags of [O_RDONLY, O_WRONLY, O_RDWR | O_TRUNC])
            assert.equal(
              refusal(() => client.open(nodeId, flags)),
              ELOOP,
            );
          assert.equal(
            refusal(() => client.create(ROOT, file, O_RDWR | O_CREAT)),
            ELOOP,
          );
          assert.equal(
            refusal(() => client.setattr(nodeId, SetattrFlag.SIZE, { size: 0 })),
            EINVAL,
          );
        }
      });

      test("a hard link made on the host is the same node", () => {
        writeFileSync(on("first"), "");
        linkSync(on("first"), on("second"));
        assert.equal(client.lookup(ROOT, "first").nodeId, client.lookup(ROOT, "second").nodeId);
      });

      test("what was forgotten is not known any more", () => {
        writeFileSync(on("forgotten"), "");
        const { nodeId } = client.lookup(ROOT, "forgotten");
        client.lookup(ROOT, "forgotten");
        client.forget(nodeId, 1);
        client.getattr(nodeId);
        client.forget(nodeId, 1);
        assert.equal(
          refusal(() => client.getattr(nodeId)),
          ESTALE,
        );
        assert.notEqual(client.lookup(ROOT, "forgotten").nodeId, nodeId);
      });

      test("a file without a name", () => {
        const made = client.tmpfile(ROOT, O_RDWR);
        client.write(made.nodeId, made.fh, 0, Buffer.from("x"));
        assert.equal(client.getattr(made.nodeId, made.fh).nlink, 0);
        client.link(made.nodeId, ROOT, "named");
        assert.equal(readFileSync(on("named"), "utf8"), "x");
        client.release(made.nodeId, made.fh);
      });
    });

describe("a read-only export", () => {
  const dir = join(work, "ro");
  mkdirSync(dir);
  writeFileSync(join(dir, "file"), "x");
  const client = serve({ source: dir, readOnly: true });

  test("refuses every change", () => {
    const { nodeId } = client.lookup(ROOT, "file");
    const changes: (() => unknown)[] = [
      () => client.open(nodeId, O_WRONLY),
      () => client.open(nodeId, O_RDWR),
      () => client.open(nodeId, O_RDONLY | O_TRUNC),
      () => client.create(ROOT, "new", O_WRONLY | O_CREAT),
      () => client.create(ROOT, "new", O_RDONLY | O_CREAT),
      () => client.mkdir(ROOT, "new"),
      () => client.mknod(ROOT, "new", 0o100644),
      () => client.symlink(ROOT, "new", "x"),
      () => client.link(nodeId, ROOT, "new"),
      () => client.unlink(ROOT, "file"),
      () => client.rmdir(ROOT, "file"),
      () => client.rename(ROOT, "file", ROOT, "new"),
      () => client.setattr(nodeId, SetattrFlag.MODE, { mode: 0 }),
      () => client.tmpfile(ROOT, O_RDWR),
    ];
    for (const change of changes) assert.equal(refusal(change), EROFS, change.toString());
    assert.deepEqual(readdirSync(dir), ["file"]);
    assert.equal(readFileSync(join(dir, "file"), "utf8"), "x");
    const fh = client.open(nodeId, O_RDONLY);
    assert.equal(client.read(nodeId, fh, 0, 10).toString(), "x");
  });
});

test("a read-only export is read without opening", () => {
  const dir = join(work, "no-open");
  mkdirSync(dir);
  for (let i = 0; i < 100; i++) writeFileSync(join(dir, `f${i}`), `content ${i}`);
  const client = serve({ source: dir, readOnly: true, cache: "always", noOpen: true });
  for (let round = 0; round < 2; round++)
    for (let i = 0; i < 100; i++) {
      const { nodeId } = client.lookup(ROOT, `f${i}`);
      assert.equal(
        refusal(() => client.open(nodeId, O_RDONLY)),
        os.errno.ENOSYS,
      );
      assert.equal(client.read(nodeId, 0, 0, 99).toString(), `content ${i}`);
    }
  assert.equal(
    refusal(() => client.read(ROOT, 0, 0, 99)),
    EINVAL,
  );
  assert.equal(
    refusal(() => client.opendir(ROOT)),
    os.errno.ENOSYS,
  );
  const { nodeId: file } = client.lookup(ROOT, "f0");
  assert.equal(
    refusal(() => client.readdirOnce(file, 0, 0n, 4096, false)),
    os.errno.ENOTDIR,
  );
  // Two streams of one directory, in turn, by few entries at a time.
  const streams = [false, true].map((plus) => ({ plus, offset: 0n, names: [] as string[], isAtEnd: false }));
  while (streams.some(({ isAtEnd }) => !isAtEnd))
    for (const stream of streams) {
      const entries = client.readdirOnce(ROOT, 0, stream.offset, 1024, stream.plus);
      stream.isAtEnd = entries.length === 0;
      stream.offset = entries.at(-1)?.off ?? stream.offset;
      stream.names.push(...entries.map(({ name }) => name));
    }
  for (const { names } of streams) assert.deepEqual(names.sort(), [".", "..", ...readdirSync(dir)].sort());
  assert.throws(() => serve({ source: dir, noOpen: true }), RangeError);
  assert.throws(() => serve({ source: dir, readOnly: true, cache: "always", noOpen: true, flock: true }), /locks/);
});

describe("file systems mounted below", { skip: !isRoot && "needs root" }, () => {
  const dir = join(work, "mounts");
  mkdirSync(join(dir, "below"), { recursive: true });
  test("are marked, or refused", () => {
    mount({ type: "tmpfs", source: "tmpfs", target: join(dir, "below"), options: [] });
    mounted.push(join(dir, "below"));
    writeFileSync(join(dir, "below/file"), "inside");
    const client = serve({ source: dir });
    const below = client.lookup(ROOT, "below");
    assert.equal(below.flags & 1, 1, "FUSE_ATTR_SUBMOUNT");
    const file = client.lookup(below.nodeId, "file");
    assert.equal(file.flags & 1, 0);
    const fh = client.open(file.nodeId, O_RDONLY);
    assert.equal(client.read(file.nodeId, fh, 0, 99).toString(), "inside");
    assert.equal(
      refusal(() => client.rename(below.nodeId, "file", ROOT, "out")),
      EXDEV,
    );
    // Nothing of it is known any more: the host can unmount it, and mount another.
    client.release(file.nodeId, fh);
    client.forget(file.nodeId);
    client.forget(below.nodeId);
    unmount(join(dir, "below"));
    assert.equal(client.lookup(ROOT, "below").flags & 1, 0);
    mount({ type: "tmpfs", source: "tmpfs", target: join(dir, "below"), options: [] });
    const again = client.lookup(ROOT, "below");
    assert.equal(again.flags & 1, 1);
    assert.equal(
      refusal(() => client.lookup(again.nodeId, "file")),
      ENOENT,
    );
    const strict = serve({ source: dir, submounts: false });
    assert.equal(
      refusal(() => strict.lookup(ROOT, "below")),
      EXDEV,
    );
  });
});

describe("what the host itself mounted read-only", { skip: !isRoot && "needs root" }, () => {
  const tree = join(work, "tree");
  mkdirSync(join(tree, "dir"), { recursive: true });
  writeFileSync(join(tree, "dir/file"), "in the image");
  symlinkSync("dir/file", join(tree, "link"));

  const use = (target: string, inodeFileHandles: "auto" | "never") => {
    const client = serve({ source: target, inodeFileHandles });
    const dir = client.lookup(ROOT, "dir").nodeId;
    const { nodeId } = client.lookup(dir, "file");
    const fh = client.open(nodeId, O_RDONLY);
    assert.equal(client.read(nodeId, fh, 0, 99).toString(), "in the image");
    assert.deepEqual(client.list(ROOT, { plus: true }), ["dir", "link"]);
    assert.equal(client.readlink(client.lookup(ROOT, "link").nodeId), "dir/file");
    for (const change of [
      () => client.open(nodeId, O_RDWR),
      () => client.open(nodeId, O_RDONLY | O_TRUNC),
      () => client.mkdir(ROOT, "new"),
      () => client.create(dir, "new", O_RDWR | O_CREAT),
      () => client.unlink(dir, "file"),
      () => client.setattr(nodeId, SetattrFlag.MODE, { mode: 0o600 }),
      () => client.setattr(nodeId, SetattrFlag.MTIME, { mtime: 1 }),
      () => client.setxattr(nodeId, "user.x", Buffer.from("x")),
    ])
      assert.equal(refusal(change), EROFS, change.toString());
    client.release(nodeId, fh);
  };

  for (const inodeFileHandles of ["auto", "never"] as const) {
    test(`an EROFS image, inodes by ${inodeFileHandles}`, () => {
      const [image, target] = [join(work, `${inodeFileHandles}.erofs`), join(work, `erofs-${inodeFileHandles}`)];
      execFileSync("mkfs.erofs", ["--quiet", image, tree]);
      mkdirSync(target);
      mountErofs({ metaPath: image, devicePaths: [], target });
      mounted.push(target);
      use(target, inodeFileHandles);
    });
    test(`a tmpfs remounted read-only, inodes by ${inodeFileHandles}`, () => {
      const target = join(work, `tmpfs-${inodeFileHandles}`);
      mkdirSync(target);
      mount({ type: "tmpfs", source: "tmpfs", target, options: [] });
      mounted.push(target);
      execFileSync("cp", ["-a", `${tree}/.`, target]);
      execFileSync("mount", ["-o", "remount,ro", target]);
      use(target, inodeFileHandles);
    });
  }
});

test("user and group IDs are mapped both ways", { skip: !isRoot && "needs root" }, () => {
  const dir = join(work, "ids");
  mkdirSync(dir);
  const uidMap = [{ guest: 0, host: 100_000, count: 1000 }];
  const client = serve({ source: dir, uidMap, gidMap: uidMap });
  chmodSync(dir, 0o777);
  client.uid = 5;
  client.gid = 6;
  const made = client.create(ROOT, "file", O_RDWR | O_CREAT);
  assert.deepEqual([made.uid, made.gid], [5, 6]);
  const stat = statSync(join(dir, "file"));
  assert.deepEqual([stat.uid, stat.gid], [100_005, 100_006]);
  client.uid = 1000;
  assert.equal(
    refusal(() => client.mkdir(ROOT, "dir")),
    EPERM,
  );
  assert.equal(
    refusal(() => client.setattr(made.nodeId, SetattrFlag.UID, { uid: 1000 })),
    EPERM,
  );
  writeFileSync(join(dir, "roots"), "");
  assert.equal(client.lookup(ROOT, "roots").uid, 65534);
});
