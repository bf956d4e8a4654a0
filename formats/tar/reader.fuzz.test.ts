/** Random members through random formats and splits come out as they went in; damaged archives end in FormatErrors. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, FormatError } from "../bytes/index.ts";
import type { SparseSegment, TarEntry } from "./index.ts";
import * as w from "./testing.ts";
import { damage, damaged } from "./testing-damage.ts";

/** What an entry and its data are made of; headerOffset is left out, since it depends on what comes before. */
type Member = Omit<w.Read, "headerOffset">;
type Writer = (m: Member) => Buffer[];

const bytes = (min: number, max: number) =>
  fc.uint8Array({ minLength: min, maxLength: max }).map((a) => Buffer.from(a).toString("latin1"));
const name = (max: number) => bytes(1, max).map((s) => s.replaceAll("\0", "\x01"));
const anyName = fc.oneof(name(20), name(99), name(400));

const TYPECHARS = { file: "0", hardlink: "1", symlink: "2", char: "3", block: "4", directory: "5", fifo: "6" };
const isDevice = (type: string) => type === "char" || type === "block";

/** Segments and data of a file with holes. */
const sparse = fc.array(fc.tuple(fc.nat(10000), fc.integer({ min: 1, max: 700 })), { maxLength: 60 }).map((runs) => {
  const segments: SparseSegment[] = [];
  let end = 0;
  for (const [gap, length] of runs) {
    segments.push({ offset: end + gap, length });
    end += gap + length;
  }
  const data = segments.map((s, i) => String.fromCharCode(i).repeat(s.length)).join("");
  return { sparse: segments, data, size: end + runs.length * 100 };
});
const plain = bytes(0, 1600).map((data) => ({ sparse: null, data, size: data.length }));
const none = fc.constant({ sparse: null, data: "", size: 0 });

const member: fc.Arbitrary<Member> = fc
  .constantFrom(...(Object.keys(TYPECHARS) as TarEntry["type"][]))
  .chain((type) =>
    fc.record({
      type: fc.constant(type),
      path: anyName,
      linkPath: type === "hardlink" || type === "symlink" ? anyName : fc.constant(""),
      mode: fc.nat(0o7777),
      uid: fc.oneof(fc.nat(0o777), fc.nat(2 ** 32 - 1)),
      gid: fc.oneof(fc.nat(0o777), fc.nat(2 ** 32 - 1)),
      mtimeSeconds: fc.oneof(fc.nat(2 ** 31), fc.integer({ min: -(2 ** 50), max: 2 ** 50 })),
      mtimeNanos: fc.oneof(fc.constant(0), fc.nat(999_999_999)),
      devMajor: isDevice(type) ? fc.nat(4095) : fc.constant(0),
      devMinor: isDevice(type) ? fc.nat(0o7777777) : fc.constant(0),
      xattrs: fc
        .uniqueArray(fc.record({ name: name(30), value: bytes(0, 100) }, { noNullPrototype: true }), {
          maxLength: 4,
          selector: (x) => x.name,
        })
        .map((all) => all.sort((a, b) => (a.name < b.name ? -1 : 1))),
      content: type === "file" ? fc.oneof(plain, sparse) : none,
    }),
  )
  .map(({ content, ...rest }): Member => ({ ...rest, ...content }));

/** Header fields that fit every format, the others cut or left at zero. */
const basics = (m: Member): w.HeaderSpec => ({
  name: m.path.slice(0, 100),
  link: m.linkPath.slice(0, 100),
  type: TYPECHARS[m.type],
  mode: m.mode,
  devMajor: m.devMajor,
  devMinor: m.devMinor,
});

/** Old GNU: long names as members of their own, base-256 numbers, type S; no nanoseconds, no attributes. */
const gnu: Writer = (m) => {
  const spec: w.HeaderSpec = {
    ...basics(m),
    magic: "gnu",
    uid: w.base256(m.uid, 8),
    gid: w.base256(m.gid, 8),
    mtime: w.base256(m.mtimeSeconds, 12),
  };
  const head = [
    ...(m.linkPath.length > 100 ? [w.long("K", m.linkPath)] : []),
    ...(m.path.length > 100 ? [w.long("L", m.path)] : []),
  ];
  return [...head, m.sparse === null ? w.member(spec, m.data) : w.oldGnuSparse(spec, m.sparse, m.size, m.data)];
};

function paxTime({ mtimeSeconds, mtimeNanos }: Member): string {
  const nanos = (n: number) => (n === 0 ? "" : `.${`${n}`.padStart(9, "0").replace(/0+$/, "")}`);
  if (mtimeSeconds >= 0 || mtimeNanos === 0) return `${mtimeSeconds}${nanos(mtimeNanos)}`;
  return `-${-mtimeSeconds - 1}${nanos(1_000_000_000 - mtimeNanos)}`;
}

/** PAX: everything in records, with sparse files in one of the three formats. */
const pax =
  (version: "0.0" | "0.1" | "1.0"): Writer =>
  (m) => {
    const sparse = m.sparse === null ? null : w.paxSparse(version, m.path, m.sparse, m.size);
    const escaped = (name: ByteString) => name.replace(/[%=]/g, (c) => (c === "%" ? "%25" : "%3D"));
    const records: [ByteString, ByteString][] = [
      ["path", sparse === null || version === "0.0" ? m.path : "GNUSparseFile.0/x"],
      ["linkpath", m.linkPath],
      ["uid", `${m.uid}`],
      ["gid", `${m.gid}`],
      ["mtime", paxTime(m)],
      ...m.xattrs.map((x): [ByteString, ByteString] => [`SCHILY.xattr.${escaped(x.name)}`, x.value]),
      ...(sparse?.records ?? []),
    ];
    const stored = (sparse?.lead ?? "") + m.data;
    return [w.pax(records), w.member({ ...basics(m), uid: 1, mtime: 1 }, stored)];
  };

const styles = { gnu, "0.0": pax("0.0"), "0.1": pax("0.1"), "1.0": pax("1.0") } as const;
const style = fc.constantFrom(...(Object.keys(styles) as (keyof typeof styles)[]));
type Written = readonly (readonly [Member, keyof typeof styles])[];
const written: fc.Arbitrary<Written> = fc.array(fc.tuple(member, style), { maxLength: 8 });

const archiveOf = (members: Written) =>
  Buffer.concat([...members.flatMap(([m, style]) => styles[style](m)), w.END_MARK]);

test("what is written in any format and pushed in any pieces is read again", () => {
  const pieces = fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 3000 })), {
    minLength: 1,
  });
  fc.assert(
    fc.property(written, pieces, (members, sizes) => {
      const got = w.read(archiveOf(members), sizes).map(({ headerOffset: _, ...rest }) => rest);
      // GNU headers have no room for nanoseconds and attributes.
      const expected = members.map(([m, style]) => (style === "gnu" ? { ...m, mtimeNanos: 0, xattrs: [] } : m));
      assert.deepEqual(got, expected);
    }),
    { numRuns: 300, seed: 20260101 },
  );
});

test("damaged archives give entries or FormatErrors, in bounded memory", () => {
  const before = process.memoryUsage();
  let refused = 0;
  fc.assert(
    fc.property(written, fc.array(damage, { minLength: 1, maxLength: 6 }), fc.boolean(), (members, all, byBytes) => {
      const archive = damaged(archiveOf(members), all);
      try {
        w.read(archive, [byBytes ? 100 : archive.length]);
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        refused++;
      }
    }),
    { numRuns: 1500, seed: 20260102 },
  );
  assert.ok(refused > 300, `only ${refused} were refused`);
  const grown = process.memoryUsage().rss - before.rss;
  assert.ok(grown < 256 << 20, `memory grew by ${grown} bytes`);
});

test("sizes that lie cost no memory", () => {
  const huge = 2 ** 53 - 1;
  const lies = [
    w.header({ name: "f", size: w.base256(huge, 12) }),
    w.header({ name: "x", type: "x", size: 1 << 20 }),
    w.header({ name: "V", type: "V", size: w.base256(huge, 12) }),
    Buffer.concat([w.pax([["size", `${huge}`]]), w.header({ name: "f" })]),
    Buffer.concat([
      w.pax([
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.realsize", `${huge}`],
        ["size", `${huge}`],
      ]),
      w.header({ name: "s" }),
      w.padded(`${huge}\n0\n1\n`),
    ]),
  ];
  const before = process.memoryUsage();
  for (const lie of lies)
    for (let i = 0; i < 200; i++)
      assert.throws(() => w.read(Buffer.concat([lie, Buffer.alloc(512)])), { name: "FormatError", code: /./ });
  const after = process.memoryUsage();
  assert.ok(after.arrayBuffers - before.arrayBuffers < 16 << 20);
});
