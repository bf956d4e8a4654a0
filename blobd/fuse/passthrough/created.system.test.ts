import assert from "node:assert/strict";
import { constants, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { constants as os, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { EntryOut, OpenOut, OpenReplyFlag, SetattrFlag } from "../../../formats/fuse/index.ts";
import { mount, unmount } from "../../sys/index.ts";
import { OUT_ARGS } from "../request.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough, type PassthroughConfig } from "./index.ts";
import { Client, refusal } from "./testing.ts";

const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL } = constants;
const ROOT = 1;
const isRoot = process.geteuid!() === 0;

const work = mkdtempSync(join(tmpdir(), "created-"));
const mounted: string[] = [];
after(() => {
  for (const target of mounted.reverse()) unmount(target, { lazy: true });
  rmSync(work, { recursive: true });
});

function serve(config: PassthroughConfig): Client {
  const shared = createPassthroughShared(config);
  after(() => closePassthroughShared(config, shared));
  return new Client(openPassthrough(config, shared));
}

for (const inodeFileHandles of ["auto", "never"] as const)
  test(`a file that was just created is asked by its descriptor, and by its node afterwards: ${inodeFileHandles}`, () => {
    const source = join(work, inodeFileHandles);
    mkdirSync(source);
    const on = (name: string) => join(source, name);
    const client = serve({ source, inodeFileHandles });
    const first = client.create(ROOT, "first", O_WRONLY | O_CREAT | O_EXCL, 0o600);
    const change = (nodeId: number, mode: number, time: number) => {
      client.setattr(nodeId, SetattrFlag.MODE, { mode });
      const times = { atime: time, mtime: time };
      return client.setattr(nodeId, SetattrFlag.ATIME | SetattrFlag.MTIME, times);
    };
    assert.equal(change(first.nodeId, 0o4640, 1000).mode & 0o7777, 0o4640);
    assert.equal(statSync(on("first")).mtimeMs, 1_000_000);
    client.setattr(first.nodeId, SetattrFlag.MODE, { mode: 0o640 });
    client.write(first.nodeId, first.fh, 0, Buffer.from("written"));
    assert.equal(client.getattr(first.nodeId).size, 7);
    assert.equal(
      refusal(() => client.getxattr(first.nodeId, "security.capability")),
      os.errno.ENODATA,
    );
    // Another one is the newest then, and the first one another node.
    const second = client.create(ROOT, "second", O_RDONLY | O_CREAT | O_EXCL, 0o600);
    change(first.nodeId, 0o604, 2000);
    change(second.nodeId, 0o660, 3000);
    assert.deepEqual([statSync(on("first")).mtimeMs, statSync(on("second")).mtimeMs], [2_000_000, 3_000_000]);
    assert.deepEqual([statSync(on("first")).mode & 0o777, statSync(on("second")).mode & 0o777], [0o604, 0o660]);
    // It is open for reading, which is not what cutting takes.
    assert.equal(client.setattr(second.nodeId, SetattrFlag.SIZE, { size: 10 }).size, 10);
    client.release(second.nodeId, second.fh);
    assert.equal(change(second.nodeId, 0o606, 4000).mode & 0o777, 0o606);
    // Its handle is another file's now.
    const third = client.create(ROOT, "third", O_RDWR | O_CREAT | O_EXCL, 0o600);
    change(second.nodeId, 0o611, 5000);
    assert.equal(statSync(on("third")).mode & 0o777, 0o600);
    client.unlink(ROOT, "third");
    assert.equal(change(third.nodeId, 0o666, 6000).nlink, 0, "without a name it is still changed");
    client.release(first.nodeId, first.fh);
    client.release(third.nodeId, third.fh);
    assert.equal(readFileSync(on("first"), "utf8"), "written");
    assert.ok(!existsSync(on("third")));
  });

test("closing is asked for where it can fail, and where locks hang on it", { skip: !isRoot && "needs root" }, () => {
  const tmp = join(work, "tmpfs");
  mkdirSync(tmp);
  mount({ type: "tmpfs", source: "tmpfs", target: tmp, options: [] });
  mounted.push(tmp);
  for (const name of ["lower", "upper", "work", "merged"]) mkdirSync(join(tmp, name));
  const merged = join(tmp, "merged");
  const options = [`lowerdir=${tmp}/lower`, `upperdir=${tmp}/upper`, `workdir=${tmp}/work`];
  mount({ type: "overlay", source: "overlay", target: merged, options });
  mounted.push(merged);
  const isQuiet = (client: Client, parent: number, name: string) => {
    const { nodeId, fh } = client.create(parent, name, O_WRONLY | O_CREAT | O_EXCL);
    const created = client.request.out.getUint32(OUT_ARGS + EntryOut.size + OpenOut.at.openFlags, true);
    client.release(nodeId, fh);
    client.release(nodeId, client.open(nodeId, O_WRONLY));
    client.open(nodeId, O_WRONLY);
    const opened = client.request.out.getUint32(OUT_ARGS + OpenOut.at.openFlags, true);
    assert.equal(opened & OpenReplyFlag.NOFLUSH, created & OpenReplyFlag.NOFLUSH);
    return (opened & OpenReplyFlag.NOFLUSH) !== 0;
  };
  const client = serve({ source: tmp });
  const collecting = serve({ source: tmp, writeback: true });
  const { nodeId, fh } = collecting.create(ROOT, "collected", O_WRONLY | O_CREAT);
  assert.ok(isQuiet(client, ROOT, "tmpfs"));
  assert.equal(
    refusal(() => collecting.flush(nodeId, fh)),
    os.errno.ENOSYS,
  );
  assert.ok(!isQuiet(client, client.lookup(ROOT, "merged").nodeId, "overlay"), "a mount of another kind below");
  collecting.lookup(ROOT, "merged");
  collecting.flush(nodeId, fh);
  assert.ok(!isQuiet(serve({ source: tmp, posixLocks: true }), ROOT, "locks"));
});
