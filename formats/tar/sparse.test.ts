import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ByteString, FormatError } from "../bytes/index.ts";
import type { SparseSegment } from "./index.ts";
import {
  END_MARK,
  header,
  member,
  oldGnuSparse,
  type PaxRecordList,
  pax,
  paxSparse,
  read,
  readMembers,
} from "./testing.ts";

const MAP = [
  { offset: 0, length: 3 },
  { offset: 4096, length: 600 },
  { offset: 100000, length: 1 },
];
const DATA = `abc${"d".repeat(600)}e`;
const REAL_SIZE = 200000;

type Version = "0.0" | "0.1" | "1.0";
const oldGnu = (map: readonly SparseSegment[], realSize: number, data: ByteString) =>
  oldGnuSparse({ name: "s" }, map, realSize, data);
const records = (version: Version, map: readonly SparseSegment[] = MAP) =>
  paxSparse(version, "s", map, REAL_SIZE).records;
function paxFile(
  version: Version,
  map: readonly SparseSegment[] = MAP,
  data: ByteString = DATA,
  size = REAL_SIZE,
): Buffer {
  const { records, lead } = paxSparse(version, "s", map, size);
  return Buffer.concat([pax(records), member({ name: version === "0.0" ? "s" : "GNUSparseFile.1/s" }, lead + data)]);
}

const forms: [string, Buffer][] = [
  ["old GNU", oldGnu(MAP, REAL_SIZE, DATA)],
  ["PAX 0.0", paxFile("0.0")],
  ["PAX 0.1", paxFile("0.1")],
  ["PAX 1.0", paxFile("1.0")],
];

for (const [name, archive] of forms)
  test(`${name}: path, size, map and data, in one piece and byte by byte`, () => {
    const all = Buffer.concat([archive, member({ name: "next" }, "n"), END_MARK]);
    for (const pieces of [[all.length], [1]]) {
      const [entry, next] = read(all, pieces);
      const { path, type, size, sparse, data } = entry!;
      assert.deepEqual(
        { path, type, size, sparse, data },
        { path: "s", type: "file", size: REAL_SIZE, sparse: MAP, data: DATA },
      );
      assert.equal(next!.path, "next");
    }
  });

test("a map in several blocks, in every form that has blocks", () => {
  const map = Array.from({ length: 200 }, (_, i) => ({ offset: 4096 * i, length: 1 + (i % 3) }));
  const data = "x".repeat(map.reduce((sum, s) => sum + s.length, 0));
  for (const archive of [oldGnu(map, 1000000, data), paxFile("1.0", map, data, 1000000)]) {
    const [entry] = readMembers(archive);
    assert.deepEqual(entry!.sparse, map);
    assert.equal(entry!.data, data);
  }
});

test("empty runs are dropped; a file that is one hole has an empty map and no data", () => {
  const [entry] = readMembers(oldGnu([{ offset: 5000, length: 0 }], 5000, ""));
  assert.deepEqual([entry!.size, entry!.sparse, entry!.data], [5000, [], ""]);
  const [pax1] = readMembers(paxFile("1.0", [], ""));
  assert.deepEqual([pax1!.size, pax1!.sparse, pax1!.data], [REAL_SIZE, [], ""]);
});

describe("what is no map is refused", () => {
  const fails = (pattern: RegExp, archive: Buffer, code = "ERR_BAD_VALUE") =>
    assert.throws(
      () => readMembers(archive, member({ name: "next" })),
      (e) => e instanceof FormatError && e.code === code && pattern.test(e.message),
    );
  const bad: [string, SparseSegment[], RegExp][] = [
    ["out of order", [MAP[1]!, MAP[0]!, MAP[2]!], /found data at 0, the run before ends at 4696/],
    ["overlapping", [MAP[0]!, { offset: 2, length: 600 }, MAP[2]!], /found data at 2, the run before ends at 3/],
    ["outside the file", [MAP[0]!, MAP[1]!, { offset: REAL_SIZE, length: 1 }], /up to 200001 in a file of 200000/],
    ["less than is stored", MAP.slice(0, 2), /describes 603 bytes of data, the archive stores 604/],
    ["more than is stored", [...MAP, { offset: 150000, length: 7 }], /describes 611 bytes/],
  ];
  for (const [what, map, pattern] of bad)
    test(what, () => {
      fails(pattern, oldGnu(map, REAL_SIZE, DATA));
      fails(pattern, paxFile("0.0", map));
      fails(pattern, paxFile("0.1", map));
      fails(pattern, paxFile("1.0", map));
    });

  test("an old GNU header without a size", () => {
    const at = { 386: "0", 483: "x" };
    fails(/header\.realsize at byte 483/, header({ name: "s", type: "S", magic: "gnu", at }));
  });

  const withRecords = (...records: PaxRecordList) => Buffer.concat([pax(records), member({ name: "s" }, DATA)]);
  test("records that do not fit together", () => {
    fails(/realsize .* missing/, withRecords(["GNU.sparse.map", "0,604"]));
    fails(/numblocks .* found 4, the map has 3/, withRecords(...records("0.1"), ["GNU.sparse.numblocks", "4"]));
    fails(/offset without a length/, withRecords(["GNU.sparse.size", "9"], ["GNU.sparse.map", "0,1,2"]));
    fails(/in turns/, withRecords(["GNU.sparse.size", "9"], ["GNU.sparse.numbytes", "1"]));
    fails(/decimal number/, withRecords(["GNU.sparse.size", "9"], ["GNU.sparse.map", "0,,1"]));
    fails(/found for a directory/, Buffer.concat([pax(records("0.1")), header({ name: "d", type: "5" })]));
  });

  test("formats that are not known, and maps for all members", () => {
    const newer: PaxRecordList = [...records("1.0").slice(1), ["GNU.sparse.major", "2"]];
    fails(/found sparse format 2\.0/, withRecords(...newer), "ERR_UNSUPPORTED");
    fails(/global header/, pax([["GNU.sparse.size", "9"]], "g"), "ERR_UNSUPPORTED");
  });

  test("a leading map that is cut, endless or not made of numbers", () => {
    const map = (text: string) => Buffer.concat([pax(records("1.0")), member({ name: "s" }, text)]);
    fails(/goes on after the end of the stored data/, map("3\n0\n1\n".padEnd(511, "0")));
    fails(/goes on after the end of the stored data/, map(`200\n${"0\n".repeat(254)}`));
    fails(/not a decimal number/, map("1\n-4\n1\n".padEnd(512, "\0")));
    fails(/too long/, map("1".repeat(512)));
  });
});

test("limit of map entries, at the limit and one past it", () => {
  for (const [, archive] of forms) {
    read(Buffer.concat([archive, END_MARK]), [512], { sparseSegments: 3 });
    assert.throws(() => read(Buffer.concat([archive, END_MARK]), [512], { sparseSegments: 2 }), /more than 2 entries/);
  }
});
