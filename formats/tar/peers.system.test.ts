/**
 * Archives that other programs make of a tree on disk, read back and compared with that tree. Needs root (devices,
 * security attributes) and Debian's tar, libarchive-tools, busybox-static, python3, git, attr.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { type ByteString, escapeBytes, FormatError, fromText, toBytes } from "../bytes/index.ts";
import { type Read, read } from "./testing.ts";
import { damage, damaged } from "./testing-damage.ts";
import { fullTree, type Item, onDisk, plainTree, run, sha256, ustarTree } from "./testing-tree.ts";

let scratch: string;
before(() => {
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), "tar-peers-"));
  plainTree(path.join(scratch, "plain"));
  ustarTree(path.join(scratch, "ustar"));
  fullTree(path.join(scratch, "full"));
});
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

/** The archive's members as Items, hard links resolved to what they link to. */
function inArchive(entries: readonly Read[]): Map<ByteString, Item> {
  const items = new Map<ByteString, Item>();
  for (const entry of entries) {
    const at = clean(entry.path);
    if (entry.type !== "hardlink") items.set(at, itemOf(entry));
    else {
      const target = items.get(clean(entry.linkPath));
      assert.ok(target, `${escapeBytes(at)} links to ${escapeBytes(entry.linkPath)}, which came before`);
      items.set(at, target);
    }
  }
  return items;
}

const clean = (name: ByteString) => name.replace(/^\.\/(?=.)/, "").replace(/(?<=.)\/$/, "");

function itemOf(entry: Read): Item {
  const isDevice = entry.type === "char" || entry.type === "block";
  return {
    type: entry.type,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    mtimeSeconds: entry.mtimeSeconds,
    mtimeNanos: entry.mtimeNanos,
    link: entry.linkPath,
    device: isDevice ? `${entry.devMajor}:${entry.devMinor}` : "",
    size: entry.size,
    sha256: entry.type === "file" ? sha256(content(entry)) : "",
    xattrs: Object.fromEntries(entry.xattrs.map((x) => [x.name, x.value])),
  };
}

/** The file as it is read: data where the map has it, zeros between. */
function content(entry: Read): Buffer {
  const data = toBytes(entry.data);
  if (entry.sparse === null) return data;
  const file = Buffer.alloc(entry.size);
  let from = 0;
  for (const { offset, length } of entry.sparse) {
    data.copy(file, offset, from, from + length);
    from += length;
  }
  assert.equal(from, data.length, "the map describes all data");
  return file;
}

interface Expectation {
  /** Times: whole seconds, to the nanosecond, or as close as a double comes. */
  readonly times: "seconds" | "nanos" | "double";
  readonly xattrs: boolean;
  /** The writer gets times before 1970 with a fraction wrong: this file's time is not compared. */
  readonly wrongTime?: ByteString;
}

const BEFORE_1970 = "dir/size-511";

function compare(archive: Buffer, root: string, { times, xattrs, wrongTime }: Expectation): Read[] {
  const entries = read(archive, [65536]);
  const simplify = (items: Map<ByteString, Item>) =>
    new Map(
      [...items].sort().map(([at, item]) => {
        const nanos = times === "nanos" ? item.mtimeNanos : times === "seconds" ? 0 : Math.round(item.mtimeNanos / 1e4);
        const time = at === wrongTime ? {} : { mtimeSeconds: item.mtimeSeconds, mtimeNanos: nanos };
        return [at, { ...item, mtimeSeconds: 0, mtimeNanos: 0, ...time, xattrs: xattrs ? item.xattrs : {} }];
      }),
    );
  assert.deepEqual(simplify(inArchive(entries)), simplify(onDisk(root)));
  return entries;
}

const sparseNames = (entries: readonly Read[]) =>
  entries.flatMap((e) => (e.sparse !== null && e.data.length < e.size ? [clean(e.path)] : [])).sort();
const HOLES = ["all-hole", "holes-few", "holes-many"];

describe("GNU tar", () => {
  const tar = (tree: string, ...options: string[]) => run("tar", "-C", path.join(scratch, tree), "-c", ...options, ".");
  const seconds = { times: "seconds", xattrs: false } as const;
  const all = { times: "nanos", xattrs: true } as const;
  const withXattrs = ["--xattrs", "--xattrs-include=*"];

  test("v7", () => {
    compare(tar("plain", "--format=v7"), path.join(scratch, "plain"), seconds);
  });
  test("ustar", () => {
    compare(tar("ustar", "--format=ustar"), path.join(scratch, "ustar"), seconds);
  });
  for (const format of ["gnu", "oldgnu"])
    test(`${format}, also sparse`, () => {
      const full = path.join(scratch, "full");
      assert.deepEqual(sparseNames(compare(tar("full", `--format=${format}`), full, seconds)), []);
      assert.deepEqual(sparseNames(compare(tar("full", `--format=${format}`, "--sparse"), full, seconds)), HOLES);
    });
  test("pax with extended attributes", () => {
    compare(tar("full", "--format=posix", ...withXattrs), path.join(scratch, "full"), all);
  });
  for (const version of ["0.0", "0.1", "1.0"])
    test(`pax, sparse ${version}`, () => {
      const options = ["--format=posix", "--sparse", `--sparse-version=${version}`, ...withXattrs];
      const entries = compare(tar("full", ...options), path.join(scratch, "full"), all);
      assert.deepEqual(sparseNames(entries), HOLES);
    });
  test("incremental with a volume label", () => {
    const archive = tar("full", "--format=gnu", "--incremental", "--label=backup");
    compare(archive, path.join(scratch, "full"), seconds);
  });
  test("pax with a global header", () => {
    const archive = tar("plain", "--format=posix", "--pax-option=uid=77");
    assert.ok(read(archive).every((entry) => entry.uid === 77));
  });
});

describe("damage to real archives", () => {
  const full = () => path.join(scratch, "full");
  const writers = {
    "GNU tar, gnu": () => run("tar", "-C", full(), "-cS", "--format=gnu", "dir", "holes-many"),
    "GNU tar, pax": () => run("tar", "-C", full(), "-cS", "--format=posix", "--xattrs", "dir", "holes-many"),
    "bsdtar, pax": () => run("bsdtar", "-C", full(), "-cf", "-", "--format", "pax", "dir", "holes-many"),
  };
  for (const [name, write] of Object.entries(writers))
    test(name, () => {
      const archive = write();
      let refused = 0;
      const attempt = fc.property(fc.array(damage, { minLength: 1, maxLength: 4 }), (all) => {
        try {
          read(damaged(archive, all), [65536]);
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
          refused++;
        }
      });
      fc.assert(attempt, { numRuns: 150, seed: 20260103 });
      assert.ok(refused > 20, `only ${refused} were refused`);
    });
});

describe("bsdtar", () => {
  const bsdtar = (tree: string, ...options: string[]) =>
    run("bsdtar", "-C", path.join(scratch, tree), "-cf", "-", ...options, ".");

  test("pax: sparse 1.0, attributes in both its records", () => {
    const full = path.join(scratch, "full");
    // It writes -0.25 s as -1.75.
    const expected = { times: "nanos", xattrs: true, wrongTime: BEFORE_1970 } as const;
    assert.deepEqual(sparseNames(compare(bsdtar("full", "--format", "pax"), full, expected)), HOLES);
    compare(bsdtar("full", "--format", "pax", "--options", "xattrheader=LIBARCHIVE"), full, expected);
  });
  test("ustar and gnutar", () => {
    compare(bsdtar("ustar", "--format", "ustar"), path.join(scratch, "ustar"), { times: "seconds", xattrs: false });
    compare(bsdtar("ustar", "--format", "gnutar"), path.join(scratch, "ustar"), { times: "seconds", xattrs: false });
  });
});

describe("others", () => {
  test("busybox tar", () => {
    const root = path.join(scratch, "ustar");
    compare(run("busybox", "tar", "-C", root, "-c", "."), root, { times: "seconds", xattrs: false });
  });

  for (const format of ["USTAR", "GNU", "PAX"])
    test(`Python's tarfile, ${format}`, () => {
      const script = `
import sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.${format}_FORMAT,
                  encoding="utf-8", errors="surrogateescape") as t: t.add(sys.argv[1], ".")`;
      const root = path.join(scratch, format === "USTAR" ? "ustar" : "full");
      const times = format === "PAX" ? "double" : "seconds";
      // In GNU headers it rounds towards zero.
      const wrong = format === "GNU" ? { wrongTime: BEFORE_1970 } : {};
      compare(run("python3", "-c", script, root), root, { times, xattrs: false, ...wrong });
    });

  test("git archive: a global header with a comment", () => {
    const repository = path.join(scratch, "git");
    const git = (...args: string[]) =>
      run("git", "-C", repository, "-c", "user.name=a", "-c", "user.email=a@example.org", ...args);
    fs.mkdirSync(repository);
    git("init", "-q");
    fs.writeFileSync(path.join(repository, "ä"), "content");
    git("add", ".");
    git("commit", "-q", "-m", "one");
    const archive = git("archive", "HEAD");
    assert.equal(archive[156], "g".charCodeAt(0));
    assert.deepEqual(
      read(archive).map((e) => [e.path, e.data]),
      [[fromText("ä"), "content"]],
    );
  });
});
