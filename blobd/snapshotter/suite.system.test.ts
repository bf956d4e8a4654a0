/**
 * The cases of containerd's snapshotter suite (core/snapshots/testsuite of 2.1.9), by their names there, against our socket
 * and with real mounts; and what it does not ask. Needs root.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { status } from "@grpc/grpc-js";
import { realtimeNanos } from "../sys/index.ts";
import type { InfoMessage, Mount, Timestamp } from "./grpc/index.ts";
import { TestSnapshotter } from "./testing.ts";

let sn: TestSnapshotter;
before(async () => {
  sn = new TestSnapshotter();
  await sn.start();
});
after(() => sn.close());

type Apply = (root: string) => void;
const file =
  (path: string, content: string, mode = 0o644): Apply =>
  (root) => {
    fs.writeFileSync(join(root, path), content);
    fs.chmodSync(join(root, path), mode);
  };
const dir =
  (path: string, mode = 0o755): Apply =>
  (root) => {
    fs.mkdirSync(join(root, path));
    fs.chmodSync(join(root, path), mode);
  };
const gone =
  (path: string): Apply =>
  (root) =>
    fs.rmSync(join(root, path), { recursive: true });
const owned =
  (path: string, uid: number, gid: number): Apply =>
  (root) =>
    fs.lchownSync(join(root, path), uid, gid);
const renamed =
  (from: string, to: string): Apply =>
  (root) =>
    fs.renameSync(join(root, from), join(root, to));
const linked =
  (from: string, to: string): Apply =>
  (root) =>
    fs.linkSync(join(root, from), join(root, to));

/** Paths of a tree with type, mode, owner and content. */
function describe(root: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const path of (fs.readdirSync(root, { recursive: true }) as string[]).sort()) {
    const { mode, uid, gid } = fs.lstatSync(join(root, path));
    const content = fs.lstatSync(join(root, path)).isFile() ? fs.readFileSync(join(root, path), "utf8") : "";
    found.set(path, `${mode.toString(8)} ${uid}:${gid} ${content}`);
  }
  return found;
}

let made = 0;
const name = (what: string) => `${what}-${made++}`;
const failsWith = (code: number, message?: RegExp) => (error: { code: number; message: string }) =>
  error.code === code && (message === undefined || message.test(error.message));

/** Builds a chain of snapshots, each checked by a view against the same changes made to a plain directory. */
async function checkSnapshots(...layers: Apply[][]): Promise<string> {
  const flat = fs.mkdtempSync(join(sn.directory, "flat-"));
  let parent = "";
  for (const changes of layers) {
    const key = name("prepare");
    const apply = (root: string) => {
      for (const change of changes) change(root);
    };
    const mounts = await sn.prepare(key, parent);
    if (parent !== "")
      await sn.mounted(mounts, (root) => assert.deepEqual(describe(root), describe(flat), "before the changes"));
    await sn.mounted(mounts, apply);
    apply(flat);
    parent = name("committed");
    await sn.commit(parent, key);
    const view = name("view");
    await sn.mounted(await sn.view(view, parent), (root) => assert.deepEqual(describe(root), describe(flat)));
    await sn.remove(view);
  }
  return parent;
}

test("Basic", async () => {
  const [a, b] = [name("preparing"), name("committed")];
  await sn.mounted(await sn.prepare(a), (root) => {
    for (const change of [file("foo", "foo\n", 0o777), dir("a"), dir("a/b"), dir("a/b/c")]) change(root);
  });
  await sn.commit(b, a);
  const committed = await sn.stat(b);
  assert.deepEqual([committed.parent, committed.kind], ["", "COMMITTED"]);
  await assert.rejects(sn.stat(a), failsWith(status.NOT_FOUND));
  const [next, nextCommitted] = [name("next"), name("next-committed")];
  await sn.mounted(await sn.prepare(next, b), (root) => {
    for (const change of [file("bar", "bar\n", 0o777), file("foo", "bar\n", 0o777), gone("a/b")]) change(root);
  });
  const active = await sn.stat(next);
  assert.deepEqual([active.parent, active.kind], [b, "ACTIVE"]);
  await sn.commit(nextCommitted, next);
  const walked = new Map((await sn.list()).map((info) => [info.name, info]));
  assert.deepEqual(walked.get(b), committed);
  assert.deepEqual(walked.get(nextCommitted), await sn.stat(nextCommitted));
  const view = name("view");
  await sn.mounted(await sn.view(view, nextCommitted), (root) =>
    assert.deepEqual([...describe(root).keys()], ["a", "bar", "foo"]),
  );
  await sn.remove(view);
  await assert.rejects(sn.remove(b), failsWith(status.FAILED_PRECONDITION, /remove/));
  await sn.remove(nextCommitted);
  await sn.remove(b);
});

test("StatActive, StatCommitted, Transitivity", async () => {
  const [a, b] = [await checkSnapshots([file("foo", "foo\n")]), name("active")];
  await sn.prepare(b, a);
  assert.deepEqual([(await sn.stat(b)).kind, (await sn.stat(b)).parent], ["ACTIVE", a]);
  await sn.commit(`${b}-done`, b);
  assert.equal((await sn.stat((await sn.stat(`${b}-done`)).parent)).parent, "");
});

test("PrepareViewFailing: a key is taken once", async () => {
  const parent = await checkSnapshots([file("foo", "foo\n")]);
  const key = name("key");
  await sn.prepare(key, parent);
  for (const again of [() => sn.view(key, parent), () => sn.prepare(key, parent), () => sn.commit(parent, key)])
    await assert.rejects(again(), failsWith(status.ALREADY_EXISTS));
  const racing = name("racing");
  const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => sn.view(racing, parent)));
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
});

const nanos = (time: Timestamp | null) => BigInt(time!.seconds) * 1_000_000_000n + BigInt(time!.nanos);

test("Update", async () => {
  const t1 = realtimeNanos();
  const c1 = await checkSnapshots([file("foo", "1")]);
  const keys: [string, Partial<InfoMessage>][] = [[c1, { kind: "COMMITTED", parent: "" }]];
  for (const parent of ["", c1]) {
    const [active, view] = [name("a"), name("v")];
    await sn.prepare(active, parent);
    await sn.view(view, parent);
    keys.push([active, { kind: "ACTIVE", parent }], [view, { kind: "VIEW", parent }]);
  }
  const t2 = realtimeNanos();
  for (const [key, { kind, parent }] of keys) {
    const { createdAt, updatedAt } = await sn.stat(key);
    assert.ok(nanos(createdAt) >= t1 && nanos(createdAt) <= t2);
    assert.deepEqual(createdAt, updatedAt);
    const u1 = realtimeNanos();
    const all = await sn.update({ name: key, parent: "doesnotexist", labels: { l1: "v1", l2: "v2", l3: "v3" } });
    assert.ok(nanos(all.updatedAt) >= u1 && nanos(all.updatedAt) <= realtimeNanos());
    assert.deepEqual([all.kind, all.parent, all.createdAt], [kind, parent, createdAt]);
    assert.deepEqual(all.labels, { l1: "v1", l2: "v2", l3: "v3" });
    const some = await sn.update({ name: key, labels: { l1: "updated", l4: "v4" } }, "labels.l1", "labels.l2");
    assert.deepEqual(some.labels, { l1: "updated", l3: "v3" });
    assert.deepEqual((await sn.update({ name: key, labels: { l4: "v4" } }, "labels")).labels, { l4: "v4" });
    await assert.rejects(sn.update({ name: key }, "parent"), failsWith(status.INVALID_ARGUMENT));
  }
  await assert.rejects(sn.update({ name: "nowhere", labels: {} }), failsWith(status.NOT_FOUND));
});

test("Remove: keys and names can be used again", async () => {
  const [a, one, reuse] = [name("committed-a"), name("committed-1"), name("reuse")];
  await sn.prepare(a);
  await sn.commit(one, a);
  await sn.prepare(reuse, one);
  await sn.remove(reuse);
  await sn.view(reuse, one);
  await sn.remove(reuse);
  await sn.prepare(reuse);
  await sn.remove(one);
  await sn.commit(one, reuse);
});

test("Walk, StatInWalk", async () => {
  const p = name("walk");
  const root = { "containerd.io/gc.root": p };
  const at = (what: string) => `${p}-${what}`;
  await sn.prepare(at("tmp"), "", root);
  await sn.commit(at("p"), at("tmp"), { ...root, l: "1" });
  await sn.prepare(at("a"), at("p"), { ...root, l: "2" });
  await sn.view(at("v"), at("p"), root);
  const names = async (...filters: string[]) => (await sn.list(...filters)).map((info) => info.name).sort();
  const mine = `labels."containerd.io/gc.root"==${p}`;
  assert.deepEqual(await names(mine), [at("a"), at("p"), at("v")]);
  assert.deepEqual(await names(`kind==active,${mine}`), [at("a")]);
  assert.deepEqual(await names(`kind==view,${mine}`), [at("v")]);
  assert.deepEqual(await names(`kind==committed,${mine}`), [at("p")]);
  assert.deepEqual(await names(`name==${at("p")}`, `name==${at("a")}`), [at("a"), at("p")]);
  assert.deepEqual(await names(`parent==${at("p")}`), [at("a"), at("v")]);
  assert.deepEqual(await names(`parent!="",${mine}`), [at("a"), at("v")]);
  assert.deepEqual(await names(`labels.l,${mine}`), [at("a"), at("p")]);
  assert.deepEqual(await names(`labels.l==2,${mine}`), [at("a")]);
  await assert.rejects(names("name~=("), failsWith(status.INVALID_ARGUMENT));
  for (const info of await sn.list(mine)) assert.deepEqual(await sn.stat(info.name), info);
});

const FILES: readonly [name: string, layers: Apply[][]][] = [
  [
    "LayerFileUpdate",
    [
      [dir("etc", 0o700), file("etc/hosts", "10.0.0.1"), file("etc/profile", "PATH=/usr/bin")],
      [file("etc/hosts", "10.0.0.2"), file("etc/profile", "PATH=/usr/bin", 0o666), dir("root", 0o700)],
    ],
  ],
  [
    "RemoveDirectoryInLowerLayer",
    [
      [dir("lib", 0o700), file("lib/hidden", "")],
      [gone("lib"), dir("lib", 0o700), file("lib/not-hidden", "")],
      [file("lib/newfile", "")],
    ],
  ],
  [
    "Chown",
    [
      [dir("opt", 0o700), dir("opt/a", 0o700), file("opt/a/file.txt", "hello")],
      [owned("opt", 1, 1), owned("opt/a", 1, 1), owned("opt/a/file.txt", 1, 1)],
    ],
  ],
  [
    "DirectoryPermissionOnCommit",
    [
      [..."12345"].flatMap((i) => [dir(`dir${i}`, 0o700), owned(`dir${i}`, 1, 1)]),
      [owned("dir2", 0, 0), gone("dir3"), owned("dir4", 2, 2)],
      [dir("dir3", 0o700), owned("dir3", 1, 1), gone("dir5"), dir("dir5", 0o700), owned("dir5", 1, 1)],
    ],
  ],
  [
    "DeletedFilesInChildSnapshot",
    [[file("foo", "foo\n"), file("foobar", "foobar\n")], [gone("foobar")], [file("foobar", "again")]],
  ],
  [
    "MoveFileFromLowerLayer",
    [
      [dir("dir1", 0o700), file("dir1/f1", "Hello"), dir("dir2", 0o700), file("dir2/f2", "...")],
      [dir("dir3", 0o700), file("dir3/f1", "Hello"), gone("dir1"), linked("dir2/f2", "dir3/f2"), gone("dir2/f2")],
    ],
  ],
  [
    "Rename (as far as overlayfs can)",
    [
      [dir("somefiles", 0o700), file("somefiles/f1", "was here first!"), file("somefiles/f2", "nothing")],
      [file("somefiles/new", "new"), renamed("somefiles/new", "somefiles/f1"), renamed("somefiles/f2", "somefiles/f3")],
    ],
  ],
];
for (const [what, layers] of FILES)
  test(what, async () => {
    await checkSnapshots(...layers);
  });

test("RemoveIntermediateSnapshot", async () => {
  const base = await checkSnapshots([file("foo", "1")], [file("bar", "2")]);
  const [key, view] = [name("key"), name("view")];
  await sn.prepare(key, base);
  await sn.view(view, base);
  await assert.rejects(sn.remove(base), failsWith(status.FAILED_PRECONDITION));
  await sn.remove(key);
  await sn.remove(view);
  await sn.remove(base);
  await assert.rejects(sn.remove(base), failsWith(status.NOT_FOUND));
});

test("ViewReadonly, RootPermission", async () => {
  const parent = await checkSnapshots([file("foo", "1")]);
  for (const [view, below] of [
    [name("view"), parent],
    [name("view"), ""],
  ] as const)
    await sn.mounted(await sn.view(view, below), (root) =>
      assert.throws(() => fs.writeFileSync(join(root, "testfile"), ""), { code: "EROFS" }),
    );
  await sn.mounted(await sn.prepare(name("root")), (root) => assert.equal(fs.statSync(root).mode & 0o777, 0o755));
});

test("128LayersMount, with 80 of them, by fewer lower directories", async () => {
  const layers = [[file("overwriteme", "FIRST!"), dir("addhere"), dir("onlyme"), file("onlyme/bottom", "bye!")]];
  for (let i = 1; i < 80; i++)
    layers.push([
      file("overwriteme", `${i} WAS HERE!`),
      file(`addhere/file-${i}`, "same", 0o755),
      gone("onlyme"),
      dir("onlyme"),
      file(`onlyme/file-${i}`, "only me!", 0o777),
    ]);
  const top = await checkSnapshots(...layers);
  const [mount] = (await sn.view(name("full"), top)) as [Mount];
  const options = mount.options.join(",");
  assert.ok(options.length < 4096 && options.split(":").length <= 50, options);
});

test("errors by their codes", async () => {
  const [key, parent] = [name("key"), await checkSnapshots([file("foo", "1")])];
  await sn.prepare(key, parent);
  const cases: [() => Promise<unknown>, number][] = [
    [() => sn.prepare("", parent), status.INVALID_ARGUMENT],
    [() => sn.prepare("x".repeat(5000), parent), status.INVALID_ARGUMENT],
    [() => sn.prepare(name("k"), "nowhere"), status.NOT_FOUND],
    [() => sn.prepare(name("k"), key), status.INVALID_ARGUMENT],
    [() => sn.mounts("nowhere"), status.NOT_FOUND],
    [() => sn.mounts(parent), status.FAILED_PRECONDITION],
    [() => sn.commit(name("c"), "nowhere"), status.NOT_FOUND],
    [() => sn.commit(name("c"), parent), status.FAILED_PRECONDITION],
    [() => sn.remove("nowhere"), status.NOT_FOUND],
    [() => sn.call("usage", { key: "nowhere" }), status.NOT_FOUND],
    [() => sn.prepare(name("k"), parent, { "containerd.io/snapshot/uidmapping": "x" }), status.INVALID_ARGUMENT],
  ];
  for (const [call, code] of cases) await assert.rejects(call(), failsWith(code));
});

test("an id-mapped container's root owns its directory, and containerd is told of the mapping", async () => {
  const parent = await checkSnapshots([file("foo", "1")]);
  const mapping = {
    "containerd.io/snapshot/uidmapping": "0:1000:65536",
    "containerd.io/snapshot/gidmapping": "0:2000:65536",
  };
  const [mount] = (await sn.prepare(name("mapped"), parent, mapping)) as [Mount];
  assert.deepEqual(mount.options.slice(0, 2), ["uidmap=0:1000:65536", "gidmap=0:2000:65536"]);
  const upper = mount.options.find((option) => option.startsWith("upperdir="))!.slice(9);
  assert.deepEqual([fs.statSync(upper).uid, fs.statSync(upper).gid], [1000, 2000]);
});

test("usage counts what a snapshot itself added", async () => {
  const key = name("usage");
  await sn.mounted(await sn.prepare(key), (root) => {
    file("one", "x".repeat(100_000))(root);
    linked("one", "two")(root);
  });
  const active = await sn.call<{ size: number; inodes: number }>("usage", { key });
  assert.ok(active.size >= 100_000 && active.size < 200_000 && active.inodes === 2, JSON.stringify(active));
  await sn.commit(`${key}-done`, key);
  assert.deepEqual(await sn.call("usage", { key: `${key}-done` }), active);
});

test("a new process knows all that the old one knew, and removes what belongs to nobody", async () => {
  const before = (await sn.list()).sort((a, b) => (a.name < b.name ? -1 : 1));
  await sn.stop();
  const strays = ["snapshots/999999", "chains/999999", "tmp/stray"].map((path) => join(sn.directory, "root", path));
  for (const path of strays) fs.mkdirSync(path);
  fs.rmdirSync(strays[2]!);
  fs.writeFileSync(strays[2]!, "");
  await sn.start();
  const now = (await sn.list()).sort((a, b) => (a.name < b.name ? -1 : 1));
  assert.deepEqual(now, before);
  for (const path of strays) assert.ok(!fs.existsSync(path), path);
});

test("a folder has one snapshotter at a time", async () => {
  await assert.rejects(sn.start(), /another snapshotter uses this folder/);
});
