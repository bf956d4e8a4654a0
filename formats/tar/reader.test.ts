import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FormatError, fromText } from "../bytes/index.ts";
import { NO_XATTRS, TarReader } from "./index.ts";
import { base256, END_MARK, header, long, member, pax, read, readMembers } from "./testing.ts";

const only = (...members: Buffer[]) => {
  const [entry, ...more] = readMembers(...members);
  assert.equal(more.length, 0);
  return entry!;
};
const fails = (code: string, pattern: RegExp, archive: Uint8Array) =>
  assert.throws(
    () => read(archive),
    (e) => e instanceof FormatError && e.code === code && pattern.test(e.message),
  );

describe("headers", () => {
  test("a ustar file, every field", () => {
    const spec = { name: "a/b", mode: 0o104755, uid: 1000, gid: 0o7777777, mtime: 1700000000, type: "0" };
    assert.deepEqual(only(member(spec, "hello")), {
      type: "file",
      path: "a/b",
      linkPath: "",
      mode: 0o4755,
      uid: 1000,
      gid: 0o7777777,
      size: 5,
      mtimeSeconds: 1700000000,
      mtimeNanos: 0,
      devMajor: 0,
      devMinor: 0,
      xattrs: [],
      sparse: null,
      headerOffset: 0,
      data: "hello",
    });
  });

  test("entries without extended attributes share one empty list", () => {
    const entries = readMembers(member({ name: "a" }), member({ name: "b" }));
    assert.ok(entries.every((e) => e.xattrs === NO_XATTRS));
  });

  test("every typeflag that is a member", () => {
    const types = [
      ["0", "file"],
      ["\0", "file"],
      ["1", "hardlink"],
      ["2", "symlink"],
      ["3", "char"],
      ["4", "block"],
      ["5", "directory"],
      ["6", "fifo"],
      ["7", "file"],
    ] as const;
    for (const [type, expected] of types) {
      const entry = only(header({ name: "n", type, link: "target", devMajor: 8, devMinor: 17 }));
      assert.equal(entry.type, expected);
      assert.equal(entry.linkPath, expected === "hardlink" || expected === "symlink" ? "target" : "");
      assert.deepEqual([entry.devMajor, entry.devMinor], "34".includes(type) ? [8, 17] : [0, 0]);
    }
  });

  test("links, directories, devices and fifos have no data whatever their size field says", () => {
    for (const type of "123456") {
      const [first, second] = readMembers(header({ name: "n", type, size: 5000 }), member({ name: "f" }, "x"));
      assert.deepEqual([first!.size, second!.path], [0, "f"]);
    }
  });

  test("v7: a name that ends with a slash is a directory, for typeflag NUL only", () => {
    assert.equal(only(header({ name: "d/", type: "\0", magic: "v7", size: 512 })).type, "directory");
    assert.equal(only(header({ name: "d/", type: "0" })).type, "file");
    assert.equal(only(long("L", `${"d/".repeat(80)}`), header({ name: "x", type: "\0" })).type, "directory");
  });

  test("v7 has neither device numbers nor prefix", () => {
    const at = { 329: "0000010\0", 345: "prefix" };
    const entry = only(header({ name: "n", type: "3", magic: "v7", at }));
    assert.deepEqual([entry.devMajor, entry.path], [0, "n"]);
  });

  test("names use their whole field; bytes that are not UTF-8 stay", () => {
    const name = `\xff\xfe${"n".repeat(98)}`;
    const prefix = "p".repeat(155);
    assert.equal(only(header({ name, prefix })).path, `${prefix}/${name}`);
    assert.equal(only(header({ name: "l", type: "2", link: name })).linkPath, name);
    assert.equal(
      only(header({ name, prefix: prefix.slice(0, 131), magic: "star" })).path,
      `${prefix.slice(0, 131)}/${name}`,
    );
  });

  test("an old GNU header has times where ustar has its prefix", () => {
    const at = { 345: "14500000000\0", 357: "14500000001\0" };
    assert.equal(only(header({ name: "n", magic: "gnu", at })).path, "n");
  });

  test("a prefix that Go before 1.8 put into a GNU header is one", () => {
    assert.equal(
      only(header({ name: "n", magic: "gnu", prefix: "usr/share/some/where" })).path,
      "usr/share/some/where/n",
    );
    assert.equal(only(header({ name: "n", magic: "gnu", prefix: "usr/\xe9/some/where" })).path, "n");
  });

  test("GNU long name and long link, also without the NUL at their end", () => {
    const path = `dir/${"x".repeat(600)}`;
    const link = `../${"y".repeat(700)}`;
    const entry = only(long("K", link), long("L", path), header({ name: "cut", type: "2", link: "cut", magic: "gnu" }));
    assert.deepEqual([entry.path, entry.linkPath, entry.headerOffset], [path, link, 0]);
    const bare = only(member({ type: "L", name: "L" }, path), header({ name: "cut" }));
    assert.equal(bare.path, path);
  });

  test("a volume label is skipped, a dump directory is a directory without data", () => {
    const [dir, file] = readMembers(
      member({ name: "label", type: "V" }, "x"),
      member({ name: "d/", type: "D", magic: "gnu" }, "Yfile\0\0"),
      member({ name: "f" }, "x"),
    );
    assert.deepEqual([dir!.type, dir!.size, file!.path, file!.headerOffset], ["directory", 0, "f", 2048]);
  });

  test("a typeflag that is no member is refused by name", () => {
    for (const type of "AIMNZ8")
      fails("ERR_UNSUPPORTED", new RegExp(`byte 0: found "${type}"`), header({ name: "n", type }));
    fails("ERR_UNSUPPORTED", /type S/, header({ name: "n", type: "S", magic: "ustar" }));
  });
});

describe("numbers in headers", () => {
  test("spaces and NULs around octal, and nothing at all", () => {
    for (const [uid, expected] of [
      ["   755\0 ", 0o755],
      ["\x000755 \0", 0o755],
      ["00000755", 0o755],
      ["755\0junk", 0o755],
      ["\0\0\0\0\0\0\0\0", 0],
      ["        ", 0],
    ] as const)
      assert.equal(only(header({ name: "n", uid })).uid, expected, JSON.stringify(uid));
  });

  test("base-256 times, also negative, and sizes", () => {
    for (const mtime of [-1, -86400.0 * 365 * 70, 2 ** 33 + 5, 2 ** 53 - 1, 1 - 2 ** 53])
      assert.equal(only(header({ name: "n", mtime: base256(mtime, 12) })).mtimeSeconds, mtime);
    assert.equal(
      only(member({ name: "n", size: base256(3, 12), uid: base256(2 ** 32 - 1, 8) }, "abc")).uid,
      2 ** 32 - 1,
    );
  });

  test("what is no number, or outside its range, is refused with field and place", () => {
    const before = member({ name: "ok" });
    for (const [spec, pattern] of [
      [{ uid: "12x\0" }, /header\.uid at byte 620: found 0x31327800/],
      [{ uid: "0000008\0" }, /header\.uid/],
      [{ gid: base256(2 ** 32, 8) }, /header\.gid at byte 628: .* from 0 to 4294967295/],
      [{ size: base256(-1, 12) }, /header\.size at byte 636/],
      [{ size: base256(2 ** 53, 12) }, /header\.size/],
      [{ mode: base256(-1, 8) }, /header\.mode/],
      [{ mtime: "\xc0".padEnd(12, "\0") }, /header\.mtime at byte 648/],
      [{ type: "3", devMajor: "z" }, /header\.devmajor/],
    ] as const)
      fails("ERR_BAD_VALUE", pattern, Buffer.concat([before, header({ name: "n", ...spec }), END_MARK]));
  });
});

describe("checksum", () => {
  test("summed as unsigned or as signed bytes", () => {
    const name = fromText("höhe");
    assert.equal(only(header({ name })).path, name);
    assert.equal(only(header({ name, signedSum: true })).path, name);
  });

  test("a flipped bit in any byte but the one after the checksum's own NUL is noticed", () => {
    const archive = Buffer.concat([header({ name: "n" }), END_MARK]);
    for (let i = 0; i < 512; i++) {
      if (i === 155) continue;
      const bad = Buffer.from(archive);
      bad[i]! ^= 0x01;
      assert.throws(() => read(bad), FormatError, `byte ${i}`);
    }
  });

  test("the error names place, found and expected", () => {
    const archive = member({ name: "n" });
    archive[0] = "m".charCodeAt(0);
    fails("ERR_BAD_VALUE", /^tar header\.chksum at byte 148: found 0\d+, the bytes add up to 0\d+/, archive);
  });
});

describe("the end", () => {
  const file = member({ name: "f" }, "0123456789");

  test("two zero blocks; what follows is read and ignored", () => {
    const reader = new TarReader({ entry() {}, data() {}, endEntry() {} });
    reader.push(Buffer.concat([file, END_MARK]));
    assert.equal(reader.sawEndMark, true);
    reader.push(Buffer.from("anything"));
    reader.end();
    assert.equal(reader.bytesRead, 1024 + 1024 + 8);
  });

  test("nothing, no end mark, and one zero block are accepted", () => {
    assert.deepEqual(read(Buffer.alloc(0)), []);
    assert.equal(read(file).length, 1);
    assert.equal(read(Buffer.concat([file, Buffer.alloc(512)])).length, 1);
  });

  test("a zero block in the middle is refused", () => {
    fails("ERR_BAD_VALUE", /end mark at byte 1536/, Buffer.concat([file, Buffer.alloc(512), file]));
    fails("ERR_BAD_VALUE", /end mark at byte 1024/, Buffer.concat([long("L", "n"), END_MARK]));
  });

  test("cut anywhere else, the archive is truncated, at that byte", () => {
    const archive = Buffer.concat([long("L", "name"), file, END_MARK]);
    const fine = new Set([0, 2048, 2560, 3072]);
    for (let length = 0; length <= archive.length; length++) {
      if (fine.has(length)) read(archive.subarray(0, length));
      else if (length < 3072) fails("ERR_TRUNCATED", new RegExp(`at byte ${length}: `), archive.subarray(0, length));
    }
    fails(
      "ERR_TRUNCATED",
      /^tar file data at byte 1538: the archive ends, expected 8 more bytes of name; .* start at byte 0$/,
      archive.subarray(0, 1538),
    );
  });
});

describe("pieces", () => {
  test("any split gives the same entries", () => {
    const archive = Buffer.concat([
      long("L", "n".repeat(300)),
      member({ name: "a" }, "A".repeat(1300)),
      header({ name: "d", type: "5" }),
      member({ name: "b" }, "B".repeat(512)),
      member({ name: "empty" }),
      END_MARK,
    ]);
    const whole = read(archive);
    assert.equal(whole.length, 4);
    for (const pieces of [[1], [7], [511], [512], [513], [1, 1000], [512, 1, 511, 3]])
      assert.deepEqual(read(archive, pieces), whole);
  });

  test("headers over many pieces", () => {
    const value = "v".repeat(60000);
    const archive = Buffer.concat([pax([["SCHILY.xattr.user.v", value]]), header({ name: "n" }), END_MARK]);
    assert.equal(read(archive, [700])[0]!.xattrs[0]!.value, value);
  });

  test("data comes as views of the pushed piece", () => {
    const archive = Buffer.concat([member({ name: "a" }, "hello"), END_MARK]);
    let seen: ArrayBufferLike | null = null;
    const data = (bytes: Uint8Array) => {
      seen = bytes.buffer;
    };
    new TarReader({ entry() {}, data, endEntry() {} }).push(archive);
    assert.equal(seen, archive.buffer);
  });

  test("after an error the reader refuses to go on", () => {
    const sink = { entry() {}, data() {}, endEntry: () => assert.fail("full") };
    const reader = new TarReader(sink);
    assert.throws(() => reader.push(header({ name: "a" })), /full/);
    assert.throws(() => reader.push(END_MARK), /used after an error/);
    assert.throws(() => reader.end(), /used after an error/);
  });
});

describe("limits", () => {
  test("a long name at its limit, and one past it", () => {
    const archive = Buffer.concat([
      member({ name: "L", type: "L" }, "n".repeat(1000)),
      header({ name: "x" }),
      END_MARK,
    ]);
    assert.equal(read(archive, [512], { pathBytes: 1000 })[0]!.path.length, 1000);
    assert.throws(() => read(archive, [512], { pathBytes: 999 }), /announces 1000 bytes, the limit is 999/);
  });
});
