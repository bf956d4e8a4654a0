import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type EntrySink, type EntryType, type TarEntry, TarReader, TarWriter } from "./index.ts";

/** An entry as it was written or read, with its data. */
interface Member extends Omit<TarEntry, "headerOffset"> {
  readonly data: string;
}

const bytes = (maxLength: number, alphabet: readonly string[]) =>
  fc.array(fc.constantFrom(...alphabet), { minLength: 1, maxLength }).map((chars) => chars.join(""));
const path = fc.oneof(bytes(120, ["a", "/", "b", "."]), bytes(300, ["n", "\xe9", "\n", " ", "=", "%"]));
const xattrs = fc
  .uniqueArray(
    fc
      .tuple(bytes(20, ["user.", "a", "=", "%"]), bytes(50, ["\0", "\xff", "=", "\n"]))
      .map(([name, value]) => ({ name, value })),
    { maxLength: 3, selector: ({ name }) => name },
  )
  .map((all) => all.sort((a, b) => (a.name < b.name ? -1 : 1)));
const u32 = fc.oneof(fc.nat(0xffff_ffff), fc.constantFrom(0, 0o7777777, 0o10000000, 0xffff_ffff));
const member: fc.Arbitrary<Member> = fc
  .record({
    type: fc.constantFrom<EntryType>("file", "hardlink", "symlink", "char", "block", "directory", "fifo"),
    path,
    linkPath: path,
    mode: fc.nat(0o7777),
    uid: u32,
    gid: u32,
    mtimeSeconds: fc.oneof(fc.integer(), fc.constantFrom(-1, 0, 0o77777777777, 0o100000000000)),
    mtimeNanos: fc.oneof(fc.constant(0), fc.nat(999_999_999)),
    devMajor: fc.nat(0xfff),
    devMinor: fc.nat(0xfffff),
    xattrs,
    data: bytes(1500, ["d", "\0", "\xfe"]),
  })
  .map((all) => {
    const isDevice = all.type === "char" || all.type === "block";
    return {
      ...all,
      // What a reader makes of a file whose name ends like a directory's is another matter.
      path: all.type === "directory" ? all.path : all.path.replace(/\/*$/, "x"),
      linkPath: all.type === "hardlink" || all.type === "symlink" ? all.linkPath : "",
      devMajor: isDevice ? all.devMajor : 0,
      devMinor: isDevice ? all.devMinor : 0,
      data: all.type === "file" ? all.data : "",
      size: all.type === "file" ? all.data.length : 0,
      sparse: null,
    };
  });

function write(members: readonly Member[]): Buffer {
  const parts: Buffer[] = [];
  const writer = new TarWriter((part, start, end) => parts.push(Buffer.from(part.subarray(start, end))));
  for (const { data, ...entry } of members) {
    writer.entry({ ...entry, headerOffset: 0 });
    if (data.length > 0) writer.data(Buffer.from(data, "latin1"), 0, data.length);
    writer.endEntry();
  }
  writer.finish();
  const archive = Buffer.concat(parts);
  assert.equal(writer.bytesWritten, archive.length);
  return archive;
}

function read(archive: Buffer): Member[] {
  const members: Member[] = [];
  let current: TarEntry;
  let data = "";
  const sink: EntrySink = {
    entry: (entry) => {
      current = entry;
      data = "";
    },
    data: (part, start, end) => {
      data += Buffer.from(part.subarray(start, end)).toString("latin1");
    },
    endEntry: () => {
      const { headerOffset: _, ...entry } = current;
      members.push({ ...entry, xattrs: [...entry.xattrs], data });
    },
  };
  const reader = new TarReader(sink);
  reader.push(archive);
  reader.end();
  return members;
}

test("what is written is read back, whatever it is", () => {
  fc.assert(
    fc.property(fc.array(member, { maxLength: 6 }), (members) => {
      const archive = write(members);
      assert.equal(archive.length % 512, 0);
      assert.deepEqual(read(archive), members);
      assert.ok(archive.equals(write(members)), "the same entries give the same bytes");
    }),
    { numRuns: 300 },
  );
});

test("data that does not fit its entry is a mistake, not an archive", () => {
  const entry = { ...fc.sample(member, { seed: 1, numRuns: 1 })[0]!, headerOffset: 0 };
  const file: TarEntry = { ...entry, type: "file", linkPath: "", devMajor: 0, devMinor: 0, size: 3 };
  const writer = () => new TarWriter(() => {});
  const begun = writer();
  begun.entry(file);
  assert.throws(() => begun.endEntry(), /3 bytes less/);
  assert.throws(() => begun.entry(file), /out of order/);
  assert.throws(() => begun.data(Buffer.alloc(4), 0, 4), /1 bytes more/);
  assert.throws(() => writer().entry({ ...file, sparse: [] }), /sparse/);
  assert.throws(() => writer().entry({ ...file, type: "char", size: 0, devMajor: 0o10000000 }), /21 bits/);
});
