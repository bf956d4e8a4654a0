import assert from "node:assert/strict";
import { constants, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants as os, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { duplicate, memfd, mount, unmount } from "../../sys/index.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough, type PassthroughConfig } from "./index.ts";
import { Client, refusal } from "./testing.ts";

const { ESTALE, EBADF, EEXIST, ENOENT, ENOTEMPTY } = os.errno;
const { O_RDWR, O_CREAT, O_EXCL, O_RDONLY } = constants;
const ROOT = 1;
const dir = mkdtempSync(join(tmpdir(), "passthrough-restart-"));
after(() => rmSync(dir, { recursive: true }));

/** Serves a directory; `restart` goes on in the same process as another would: with nothing but the memory. */
function serve(name: string, options: Partial<PassthroughConfig> = {}) {
  const source = join(dir, name);
  mkdirSync(source);
  const config = { source, ...options };
  const first = createPassthroughShared(config);
  const kept = duplicate(first.memory.fd);
  return {
    source,
    client: new Client(openPassthrough(config, first)),
    restart(files?: ReadonlyMap<number, number>): Client {
      const inherited = files === undefined ? { memoryFd: kept } : { memoryFd: kept, files };
      const second = createPassthroughShared(config, inherited);
      after(() => closePassthroughShared(config, second));
      return new Client(openPassthrough(config, second));
    },
  };
}
const hasHandles = process.geteuid!() === 0;

test("nodes and open files are known to the next process", { skip: !hasHandles && "file handles need root" }, () => {
  const { source, client, restart } = serve("known");
  const sub = client.mkdir(ROOT, "sub");
  const made = client.create(sub.nodeId, "file", O_RDWR | O_CREAT | O_EXCL);
  client.write(made.nodeId, made.fh, 0, Buffer.from("before"));
  const removed = client.create(ROOT, "removed", O_RDWR | O_CREAT);
  const orphan = client.create(ROOT, "orphan", O_RDWR | O_CREAT);
  client.write(orphan.nodeId, orphan.fh, 0, Buffer.from("kept"));
  const listing = client.opendir(sub.nodeId);
  client.unlink(ROOT, "removed");
  client.unlink(ROOT, "orphan");

  const next = restart();
  assert.equal(next.getattr(sub.nodeId).mode & 0o777, 0o755);
  assert.equal(next.lookup(sub.nodeId, "file").nodeId, made.nodeId);
  assert.equal(next.read(made.nodeId, made.fh, 0, 99).toString(), "before");
  next.write(made.nodeId, made.fh, 6, Buffer.from(" and after"));
  assert.equal(readFileSync(join(source, "sub/file"), "utf8"), "before and after", "not cut when it was opened again");
  assert.ok(next.readdirOnce(sub.nodeId, listing, 0n, 4096, false).some(({ name }) => name === "file"));
  next.release(made.nodeId, made.fh);
  // The process that is gone held the last reference, but for this test, where it lives on: either is right.
  assert.ok([ESTALE, EBADF, 0].includes(refusal(() => next.read(removed.nodeId, removed.fh, 0, 1))));
  next.release(removed.nodeId, removed.fh);
});

test("a file without a name goes on by the descriptor that was kept", {
  skip: !hasHandles && "file handles need root",
}, () => {
  const { client, restart } = serve("orphans");
  const made = client.create(ROOT, "file", O_RDWR | O_CREAT);
  client.unlink(ROOT, "file");
  const kept = memfd("kept", 5);
  const next = restart(new Map([[made.fh, kept]]));
  next.write(made.nodeId, made.fh, 0, Buffer.from("again"));
  assert.equal(next.read(made.nodeId, made.fh, 0, 9).toString(), "again");
  next.release(made.nodeId, made.fh);
});

test("a file that loses its last name while it is open is held outside, until it is closed", () => {
  const source = join(dir, "hooks");
  mkdirSync(source);
  const config = { source };
  const shared = createPassthroughShared(config);
  const held: string[] = [];
  const hooks = {
    hold: (fh: number, fd: number) => void held.push(`hold ${fh} ${fd >= 0}`),
    release: (fh: number) => void held.push(`release ${fh}`),
  };
  const client = new Client(openPassthrough(config, shared, undefined, hooks));
  const [a, b, c] = ["a", "b", "c"].map((name) => client.create(ROOT, name, O_RDWR | O_CREAT));
  client.link(a!.nodeId, ROOT, "a2");
  client.unlink(ROOT, "a");
  assert.deepEqual(held, [], "it has another name");
  client.unlink(ROOT, "a2");
  client.rename(ROOT, "c", ROOT, "b");
  client.release(a!.nodeId, a!.fh);
  client.release(b!.nodeId, b!.fh);
  client.release(c!.nodeId, c!.fh);
  const tmp = client.tmpfile(ROOT, O_RDWR);
  client.release(tmp.nodeId, tmp.fh);
  client.unlink(ROOT, "b");
  assert.deepEqual(held, [
    `hold ${a!.fh} true`,
    `hold ${b!.fh} true`,
    `release ${a!.fh}`,
    `release ${b!.fh}`,
    `hold ${tmp.fh} true`,
    `release ${tmp.fh}`,
  ]);
  closePassthroughShared(config, shared);
});

test("files held by descriptors are gone, and are found again by name", () => {
  const { source, client, restart } = serve("descriptors", { inodeFileHandles: "never" });
  writeFileSync(join(source, "file"), "x");
  const { nodeId } = client.lookup(ROOT, "file");
  const next = restart();
  assert.equal(
    refusal(() => next.getattr(nodeId)),
    ESTALE,
  );
  const again = next.lookup(ROOT, "file");
  assert.notEqual(again.nodeId, nodeId);
  const fh = next.open(again.nodeId, O_RDONLY);
  assert.equal(next.read(again.nodeId, fh, 0, 9).toString(), "x");
});

test("the memory of another directory, or of other sizes, is refused", () => {
  const { client } = serve("one");
  assert.ok(client.getattr(ROOT));
  const config = { source: join(dir, "one") };
  const shared = createPassthroughShared(config);
  const other = join(dir, "other");
  mkdirSync(other);
  assert.throws(
    () => createPassthroughShared({ source: other }, { memoryFd: duplicate(shared.memory.fd) }),
    RangeError,
  );
  assert.throws(
    () => createPassthroughShared({ ...config, maxNodes: 10 }, { memoryFd: duplicate(shared.memory.fd) }),
    RangeError,
  );
  closePassthroughShared(config, shared);
});

test("file systems mounted below are known again when somebody comes by", { skip: !hasHandles && "needs root" }, () => {
  const { source, client, restart } = serve("submounts");
  const below = join(source, "below");
  mkdirSync(below);
  mount({ type: "tmpfs", source: "tmpfs", target: below, options: [] });
  try {
    writeFileSync(join(below, "file"), "x");
    const root = client.lookup(ROOT, "below");
    const file = client.lookup(root.nodeId, "file");
    const next = restart();
    assert.equal(
      refusal(() => next.open(file.nodeId, O_RDONLY)),
      ESTALE,
    );
    assert.equal(next.lookup(ROOT, "below").nodeId, root.nodeId);
    const fh = next.open(file.nodeId, O_RDONLY);
    assert.equal(next.read(file.nodeId, fh, 0, 9).toString(), "x");
    next.release(file.nodeId, fh);
  } finally {
    unmount(below, { lazy: true });
  }
});

test("what was carried out already is not done twice, nor refused", () => {
  const { source, client } = serve("repeated");
  const repeat = <T>(run: () => T): T => {
    client.isRepeated = true;
    try {
      return run();
    } finally {
      client.isRepeated = false;
    }
  };
  const directory = client.mkdir(ROOT, "dir");
  assert.equal(repeat(() => client.mkdir(ROOT, "dir")).nodeId, directory.nodeId);
  const file = client.create(ROOT, "file", O_RDWR | O_CREAT | O_EXCL);
  assert.equal(repeat(() => client.create(ROOT, "file", O_RDWR | O_CREAT | O_EXCL)).nodeId, file.nodeId);
  const link = client.symlink(ROOT, "link", "target");
  assert.equal(repeat(() => client.symlink(ROOT, "link", "target")).nodeId, link.nodeId);
  const hard = client.link(file.nodeId, ROOT, "hard");
  assert.equal(repeat(() => client.link(file.nodeId, ROOT, "hard")).nodeId, hard.nodeId);
  const fifo = client.mknod(ROOT, "fifo", 0o010644);
  assert.equal(repeat(() => client.mknod(ROOT, "fifo", 0o010644)).nodeId, fifo.nodeId);
  client.rename(ROOT, "hard", ROOT, "moved");
  repeat(() => client.rename(ROOT, "hard", ROOT, "moved"));
  client.unlink(ROOT, "moved");
  repeat(() => client.unlink(ROOT, "moved"));
  client.rmdir(ROOT, "dir");
  repeat(() => client.rmdir(ROOT, "dir"));
  const XATTR_CREATE = 1;
  client.setxattr(file.nodeId, "user.a", Buffer.from("1"), XATTR_CREATE);
  repeat(() => client.setxattr(file.nodeId, "user.a", Buffer.from("1"), XATTR_CREATE));
  client.removexattr(file.nodeId, "user.a");
  repeat(() => client.removexattr(file.nodeId, "user.a"));
  const listing = client.opendir(ROOT);
  client.releasedir(ROOT, listing);
  repeat(() => client.releasedir(ROOT, listing));
  client.release(file.nodeId, file.fh);
  repeat(() => client.release(file.nodeId, file.fh));
  assert.equal(
    refusal(() => client.release(file.nodeId, file.fh)),
    EBADF,
  );

  // What does not look as if it had been carried out is refused as ever.
  assert.equal(
    refusal(() => repeat(() => client.mkdir(ROOT, "file"))),
    EEXIST,
  );
  assert.equal(
    refusal(() => repeat(() => client.symlink(ROOT, "link", "elsewhere"))),
    EEXIST,
  );
  assert.equal(
    refusal(() => repeat(() => client.link(link.nodeId, ROOT, "file"))),
    EEXIST,
  );
  assert.equal(
    refusal(() => repeat(() => client.rename(ROOT, "never", ROOT, "was"))),
    ENOENT,
  );
  mkdirSync(join(source, "full/sub"), { recursive: true });
  assert.equal(
    refusal(() => repeat(() => client.rmdir(ROOT, "full"))),
    ENOTEMPTY,
  );
  assert.equal(
    refusal(() => client.unlink(ROOT, "moved")),
    ENOENT,
  );
});
