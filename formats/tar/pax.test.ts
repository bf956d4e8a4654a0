import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ByteString, FormatError } from "../bytes/index.ts";
import { END_MARK, header, long, member, pax, read, readMembers, record } from "./testing.ts";

const one = (...records: [ByteString, ByteString][]) => readMembers(pax(records), member({ name: "n" }, "data"))[0]!;
const xattrsOf = (...records: [ByteString, ByteString][]) => one(...records).xattrs.map((x) => [x.name, x.value]);
const fails = (pattern: RegExp, ...members: Buffer[]) =>
  assert.throws(
    () => readMembers(...members),
    (e) => e instanceof FormatError && e.code === "ERR_BAD_VALUE" && pattern.test(e.message),
  );

describe("records", () => {
  test("override the header's fields", () => {
    const path = "\xff\n=".repeat(100);
    const [entry, after] = readMembers(
      pax([
        ["path", path],
        ["linkpath", "target"],
        ["uid", "4294967295"],
        ["gid", "3000000"],
        ["mtime", "-0.5"],
        ["size", "3"],
        ["uname", "nobody"],
        ["comment", "hdrcharset does not matter"],
        ["hdrcharset", "BINARY"],
      ]),
      member({ name: "cut", size: 0 }, "abc"),
      member({ name: "next" }),
    );
    const { type, uid, gid, size, mtimeSeconds, mtimeNanos, data, headerOffset } = entry!;
    assert.equal(entry!.path, path);
    assert.deepEqual(
      { type, uid, gid, size, mtimeSeconds, mtimeNanos, data, headerOffset },
      {
        type: "file",
        uid: 2 ** 32 - 1,
        gid: 3000000,
        size: 3,
        mtimeSeconds: -1,
        mtimeNanos: 5e8,
        data: "abc",
        headerOffset: 0,
      },
    );
    assert.deepEqual(
      [after!.path, after!.uid, after!.headerOffset],
      ["next", 0, 512 + 512 + 512 + 512 + (path.length > 400 ? 512 : 0)],
    );
  });

  test("linkpath is for links", () => {
    const [link] = readMembers(pax([["linkpath", "a b"]]), header({ name: "l", type: "2", link: "cut" }));
    assert.equal(link!.linkPath, "a b");
  });

  test("the last of two counts; an empty one takes it back", () => {
    assert.equal(one(["path", "a"], ["path", "b"]).path, "b");
    assert.equal(one(["path", "a"], ["path", ""]).path, "n");
  });

  test("a second x header replaces the first; L goes above x", () => {
    const [entry] = readMembers(
      pax([
        ["path", "a"],
        ["uid", "5"],
      ]),
      pax([["gid", "6"]]),
      header({ name: "n" }),
    );
    assert.deepEqual([entry!.path, entry!.uid, entry!.gid], ["n", 0, 6]);
    for (const order of [
      [pax([["path", "x"]]), long("L", "L")],
      [long("L", "L"), pax([["path", "x"]])],
    ])
      assert.equal(readMembers(...order, header({ name: "n" }))[0]!.path, "L");
  });

  test("Sun's X is x; NULs after the last record are padding", () => {
    assert.equal(readMembers(pax([["path", "sun"]], "X"), header({ name: "n" }))[0]!.path, "sun");
    const body = `${record("path", "a")}\0\0\0`;
    assert.equal(readMembers(member({ name: "x", type: "x" }, body), header({ name: "n" }))[0]!.path, "a");
  });

  test("globals stay until they are replaced or taken back; x goes above them", () => {
    const entries = readMembers(
      pax(
        [
          ["uid", "7"],
          ["mtime", "1.25"],
          ["SCHILY.xattr.user.g", "1"],
        ],
        "g",
      ),
      header({ name: "a" }),
      pax([
        ["uid", "8"],
        ["SCHILY.xattr.user.x", "2"],
      ]),
      header({ name: "b" }),
      pax([["uid", ""]]),
      header({ name: "c", uid: 9 }),
      pax(
        [
          ["uid", ""],
          ["SCHILY.xattr.user.g", "3"],
        ],
        "g",
      ),
      header({ name: "d", uid: 10 }),
    );
    assert.deepEqual(
      entries.map((e) => [e.path, e.uid, e.mtimeNanos, e.xattrs.map((x) => x.name + x.value).join()]),
      [
        ["a", 7, 250000000, "user.g1"],
        ["b", 8, 250000000, "user.g1,user.x2"],
        ["c", 9, 250000000, "user.g1"],
        ["d", 10, 250000000, "user.g3"],
      ],
    );
  });

  test("malformed ones are refused with their place", () => {
    for (const [body, pattern] of [
      ["11 path=abc", /record length at byte 512|does not end with a newline/],
      ["x path=abc\n", /record length at byte 512: found "x path=abc/],
      ["99 path=abc\n", /record length at byte 512: .* 12 bytes are left/],
      ["2 \n", /record length/],
      ["5 abc\n", /newline/],
      ["6 abc\n", /no keyword/],
      ["5 =b\n", /no keyword/],
      ["00000000012 path=abc\n", /record length/],
      [`${record("uid", "1")}8 uid=x\n`, /uid at byte/],
      [record("uid", "-1"), /uid at byte 518: found "-1", expected a decimal number up to 4294967295/],
      [record("uid", "4294967296"), /uid/],
      [record("size", "9007199254740992"), /size/],
      [record("mtime", "now"), /mtime/],
      [record("path", "a\0b"), /path .* NUL/],
    ] as const)
      fails(pattern, member({ name: "x", type: "x" }, body), header({ name: "n" }));
  });

  test("the limits of a header and of a path, at the limit and one past it", () => {
    const archive = Buffer.concat([pax([["path", "p".repeat(987)]]), header({ name: "n" }), END_MARK]);
    assert.equal(read(archive, [512], { paxBytes: 997, pathBytes: 987 })[0]!.path.length, 987);
    assert.throws(() => read(archive, [512], { paxBytes: 996 }), /announces 997 bytes, the limit is 996/);
    assert.throws(() => read(archive, [512], { pathBytes: 986 }), /found 987 bytes, the limit is 986/);
  });
});

describe("extended attributes", () => {
  const capability = "\x01\0\0\x02\0 \0\0\0\0\n\0\xff\xfe\0\0\0\0\0\0";

  test("SCHILY values are raw bytes; an empty one is a value", () => {
    assert.deepEqual(
      xattrsOf(
        ["SCHILY.xattr.user.z", "a\nb=c"],
        ["SCHILY.xattr.security.capability", capability],
        ["SCHILY.xattr.user.e", ""],
      ),
      [
        ["security.capability", capability],
        ["user.e", ""],
        ["user.z", "a\nb=c"],
      ],
    );
  });

  test("names sort as bytes, the last of two counts", () => {
    assert.deepEqual(
      xattrsOf(
        ["SCHILY.xattr.user.\xff", "1"],
        ["SCHILY.xattr.user.b", "2"],
        ["SCHILY.xattr.user.B", "3"],
        ["SCHILY.xattr.user.b", "4"],
      ),
      [
        ["user.B", "3"],
        ["user.b", "4"],
        ["user.\xff", "1"],
      ],
    );
  });

  test("GNU tar's two escapes are decoded, other percent signs stay", () => {
    assert.deepEqual(xattrsOf(["SCHILY.xattr.user.a%25%3D%20b", "v"]), [["user.a%=%20b", "v"]]);
  });

  test("LIBARCHIVE values are base64, names URL-encoded, and its SCHILY twin is the same attribute", () => {
    assert.deepEqual(xattrsOf(["LIBARCHIVE.xattr.user.sp%20ace%ff", "AP8K"]), [["user.sp ace\xff", "\0\xff\n"]]);
    assert.deepEqual(xattrsOf(["LIBARCHIVE.xattr.user.sp%20ace", "AP8K"], ["SCHILY.xattr.user.sp%20ace", "raw"]), [
      ["user.sp ace", "raw"],
    ]);
    assert.deepEqual(xattrsOf(["LIBARCHIVE.xattr.user.pad", "AA=="], ["LIBARCHIVE.xattr.user.none", ""]), [
      ["user.none", ""],
      ["user.pad", "\0"],
    ]);
  });

  test("precedence: SCHILY, LIBARCHIVE, RHT.security.selinux, in any order", () => {
    const forms: [ByteString, ByteString][] = [
      ["SCHILY.xattr.security.selinux", "s\0"],
      ["LIBARCHIVE.xattr.security.selinux", Buffer.from("l\0").toString("base64")],
      ["RHT.security.selinux", "r"],
    ];
    assert.deepEqual(xattrsOf(...forms), [["security.selinux", "s\0"]]);
    assert.deepEqual(xattrsOf(...forms.toReversed()), [["security.selinux", "s\0"]]);
    assert.deepEqual(xattrsOf(...forms.slice(1)), [["security.selinux", "l\0"]]);
    assert.deepEqual(xattrsOf(forms[2]!), [["security.selinux", "r\0"]]);
  });

  test("what is no attribute is refused", () => {
    const bad = (pattern: RegExp, key: ByteString, value = "v") =>
      fails(pattern, pax([[key, value]]), header({ name: "n" }));
    bad(/xattr name .* empty/, "SCHILY.xattr.");
    bad(/xattr name .* NUL/, "SCHILY.xattr.user.a\0b");
    bad(/xattr name .* NUL/, "LIBARCHIVE.xattr.user.%00", "AA");
    bad(/xattr value .* base64/, "LIBARCHIVE.xattr.user.a", "%%%");
  });

  test("limits, at the limit and one past it", () => {
    const archive = (...records: [ByteString, ByteString][]) =>
      Buffer.concat([pax(records), header({ name: "n" }), END_MARK]);
    const value = (length: number) => archive(["SCHILY.xattr.user.v", "v".repeat(length)]);
    assert.equal(read(value(65536))[0]!.xattrs[0]!.value.length, 65536);
    assert.throws(() => read(value(65537)), /has 65537 bytes, the limit is 65536/);
    const encoded = (length: number) => archive(["LIBARCHIVE.xattr.user.v", Buffer.alloc(length).toString("base64")]);
    assert.equal(read(encoded(65536))[0]!.xattrs[0]!.value.length, 65536);
    assert.throws(() => read(encoded(65537)), /limit is 65536/);
    const name = (length: number) => archive([`SCHILY.xattr.${"n".repeat(length)}`, "v"]);
    assert.equal(read(name(255))[0]!.xattrs[0]!.name.length, 255);
    assert.throws(() => read(name(256)), /has 256 bytes, the limit is 255/);
    const names = archive(["SCHILY.xattr.user.a", ""], ["SCHILY.xattr.user.b", ""]);
    assert.equal(read(names, [512], { xattrListBytes: 14 })[0]!.xattrs.length, 2);
    assert.throws(() => read(names, [512], { xattrListBytes: 13 }), /add up to 14 bytes, the limit is 13/);
    const globals = Buffer.concat([
      pax(
        [
          ["SCHILY.xattr.user.a", ""],
          ["SCHILY.xattr.user.b", ""],
        ],
        "g",
      ),
      END_MARK,
    ]);
    read(globals, [512], { globalXattrs: 2 });
    assert.throws(() => read(globals, [512], { globalXattrs: 1 }), /give 2 attributes, the limit is 1/);
  });
});
