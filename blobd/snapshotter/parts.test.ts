import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { composeChain } from "./chain.ts";
import { ServiceError } from "./grpc/index.ts";
import { mappedRoot } from "./id-map.ts";
import { activeMount, GID_MAPPING, partsOf, UID_MAPPING, viewMount } from "./mount-plan.ts";
import { type Snapshot, SnapshotTable } from "./state/index.ts";
import { layeredMounts } from "./vm-mounts.ts";

const labels = (uids: string, gids = uids) => ({ [UID_MAPPING]: uids, [GID_MAPPING]: gids });

test("a mapping's root is found in any of its ranges", () => {
  assert.equal(mappedRoot({}), null);
  assert.deepEqual(mappedRoot(labels("0:1000:1", "5:7:2,0:2000:65536")), { uid: 1000, gid: 2000 });
});

test("a mapping that is none, or has no root, is refused", () => {
  for (const bad of [
    "",
    "x",
    "0:1000",
    "0:1000:0",
    "0:-1:5",
    "1:0:5",
    "0:0:1:1",
    "0:4294967295:2",
    "0:1:1,".repeat(400),
  ])
    assert.throws(() => mappedRoot(labels(bad)), ServiceError, bad);
  assert.throws(() => mappedRoot({ [UID_MAPPING]: "0:0:1" }), ServiceError, "only one of two");
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        mappedRoot(labels(text));
      } catch (error) {
        assert.ok(error instanceof ServiceError);
      }
    }),
  );
});

test("what a mount is made of is read back from it", () => {
  const paths = { upper: "/r/snapshots/3/fs", work: "/r/snapshots/3/work" };
  assert.deepEqual(partsOf([activeMount(paths, ["/a", "/b"], ["uidmap=0:1:1"])]), {
    upper: paths.upper,
    lowers: ["/a", "/b"],
  });
  assert.deepEqual(partsOf([activeMount(paths, [], [])]), { upper: paths.upper, lowers: [] });
  assert.deepEqual(partsOf([viewMount(["/a"], [])]), { upper: null, lowers: ["/a"] });
  assert.deepEqual(partsOf([viewMount(["/a", "/b"], [])]), { upper: null, lowers: ["/a", "/b"] });
  assert.deepEqual(partsOf([]), { upper: null, lowers: [] });
  const layers = ["/top", "/bottom"].map((metaPath) => ({ metaPath, devicePaths: [`${metaPath}-data`] }));
  const parts = { upper: paths.upper, lowers: ["/a", "/top", "/bottom"] };
  assert.deepEqual(partsOf(layeredMounts(layers, ["/a"], paths, [])), parts);
  assert.deepEqual(partsOf(layeredMounts(layers, ["/a"], null, [])), { ...parts, upper: null });
  assert.deepEqual(partsOf(layeredMounts(layers.slice(1), [], null, [])), { upper: null, lowers: ["/bottom"] });
  assert.equal(partsOf([...layeredMounts(layers, [], paths, []), ...layeredMounts(layers, [], paths, [])]), null);
  assert.equal(partsOf([{ type: "ext4", source: "/dev/x", options: [] }]), null);
  const view = viewMount(["/a"], []);
  assert.equal(partsOf([view, view]), null);
});

/** A table with a chain of committed snapshots, bottom first: `l` has a layer, `d` a directory. */
function chainOf(kinds: string): { table: SnapshotTable; top: Snapshot; close: () => Promise<void> } {
  const folder = mkdtempSync(join(tmpdir(), "chain-"));
  const table = new SnapshotTable(folder);
  const layer = {
    key: "a".repeat(64),
    digest: `sha256:${"b".repeat(64)}`,
    size: 1,
    compression: "gzip",
    namespace: "default",
    tar: { diffId: `sha256:${"c".repeat(64)}`, tarBytes: 1024 },
  } as const;
  const common = {
    kind: "committed",
    labels: {},
    usage: { sizeBytes: 0, inodes: 0 },
    remote: null,
    convertedKey: null,
    chain: null,
    servedBy: null,
    flat: null,
  } as const;
  let top: Snapshot | undefined;
  for (const kind of kinds) {
    const id = table.nextId();
    const times = { createdNs: BigInt(id), updatedNs: 2n ** 62n };
    top = { ...common, ...times, id, name: `s${id}`, parent: top?.name ?? "", layer: kind === "l" ? layer : null };
    table.write([{ put: top }]);
  }
  return {
    table,
    top: top!,
    async close() {
      await table.close();
      rmSync(folder, { recursive: true });
    },
  };
}

const CHAINS: readonly [kinds: string, directories: number, base: string | null][] = [
  ["l", 0, "s1"],
  ["lll", 0, "s3"],
  ["d", 1, null],
  ["lldd", 2, "s2"],
  ["dl", 0, "s2"],
  ["ldld", 1, "s3"],
  ["d".repeat(48), 48, null],
  ["d".repeat(49), 25, "s24"],
  ["d".repeat(72), 48, "s24"],
  ["d".repeat(73), 25, "s48"],
  [`l${"d".repeat(49)}`, 25, "s25"],
];
for (const [kinds, directories, base] of CHAINS)
  test(`${kinds.length > 10 ? `${kinds.slice(0, 4)}… (${kinds.length})` : kinds}: ${directories} directories over ${base ?? "nothing"}`, async () => {
    const { table, top, close } = chainOf(kinds);
    const chain = composeChain(table, top);
    await close();
    assert.deepEqual([chain.directories.length, chain.base?.name ?? null], [directories, base]);
  });

test("the table is the same when it is opened again, and ids are not given twice", async () => {
  const folder = mkdtempSync(join(tmpdir(), "table-"));
  const { table, top, close } = chainOf("ld");
  const first = new SnapshotTable(folder);
  first.write([{ put: { ...top, parent: "" } }, { put: { ...top, id: 7, name: "é".repeat(900), parent: top.name } }]);
  first.write([{ remove: top.name }]);
  first.rememberTar("sha256:x", { diffId: "sha256:y", tarBytes: 3 });
  first.rememberServed(["a", "b", "c"]);
  first.forgetServed(["a", "c"]);
  const all = [...first.all()];
  await first.close();
  const second = new SnapshotTable(folder);
  assert.deepEqual([...second.all()], all);
  assert.deepEqual(second.tarOf("sha256:x"), { diffId: "sha256:y", tarBytes: 3 });
  assert.deepEqual(second.servedBlobs(), ["b"]);
  assert.ok(second.nextId() > 7);
  assert.ok(second.hasChildren(top.name) && !second.hasChildren("é".repeat(900)));
  await second.close();
  assert.equal(table.size, 2);
  await close();
  rmSync(folder, { recursive: true });
});
