import { type ByteString, fromBytes, fromText } from "../../formats/bytes/index.ts";
import { writeOciLayout } from "./oci-layout.ts";
import { buildTar, type TarEntry } from "./tar-builder.ts";

/** Tag of the edge image in its layout. */
export const EDGE_TAG = "edge";

/**
 * Paths to which an unpacker gives the time of unpacking: directories that layers only imply, and (with umoci) those in
 * which it makes them. No layer tells a time for the former.
 */
export const EDGE_UNPACK_TIMES: ReadonlySet<string> = new Set(["/", "/b", "/implied", "/implied/a", "/implied/a/b"]);

/**
 * Writes a small three-layer image that meets the edges of the OCI layer format: every file type, attributes, odd names
 * and times, whiteouts, opaque directories, hard links, and parents that are implied, symlinks or replaced.
 */
export async function writeEdgeImage(directory: string): Promise<void> {
  await writeOciLayout(directory, EDGE_TAG, edgeLayers().map(buildTar), { Cmd: ["/bin/true"] });
}

/** The edge image's layers as tar entries, bottom first. */
export function edgeLayers(): TarEntry[][] {
  return [bottomLayer(), middleLayer(), topLayer()];
}

const dir = (name: ByteString, more: Partial<TarEntry> = {}): TarEntry => ({ name: `${name}/`, type: "5", ...more });
const file = (name: ByteString, content: Uint8Array | string = name, more: Partial<TarEntry> = {}): TarEntry => ({
  name,
  content,
  ...more,
});
const symlink = (name: ByteString, link: ByteString): TarEntry => ({ name, type: "2", link, mode: 0o777 });
const hardLink = (name: ByteString, link: ByteString): TarEntry => ({ name, type: "1", link });

/** Bytes that depend on the seed and do not repeat block by block. */
function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    bytes[i] = state >> 16;
  }
  return bytes;
}

function bottomLayer(): TarEntry[] {
  return [
    dir(".", { mtime: "1600000000" }),
    ...types(),
    ...sizes(),
    ...attributes(),
    ...times(),
    ...names(),
    ...changing(),
  ];
}

function types(): TarEntry[] {
  return [
    dir("./types", { mode: 0o1777, mtime: "1500000000.25" }),
    file("./types/setuid", "x", { mode: 0o6755 }),
    file("./types/owner", "x", { uid: 100_000, gid: 200_000 }),
    { name: "./types/fifo", type: "6", mode: 0o600 },
    { name: "./types/char", type: "3", device: [5, 1] },
    { name: "./types/block", type: "4", device: [259, 300_000], mode: 0o660, gid: 6 },
    symlink("./types/dangling", "/no/such/file"),
    symlink("./types/long-link", "x/".repeat(1000)),
    file("./types/hard1", "hard"),
    hardLink("./types/hard2", "./types/hard1"),
    hardLink("./types/hard-symlink", "./types/dangling"),
  ];
}

function sizes(): TarEntry[] {
  const big = noise(2 * 1024 * 1024 + 5, 7);
  return [
    dir("sizes"),
    ...[0, 1, 4095, 4096, 4097, 12_288].map((size) => file(`sizes/${size}`, noise(size, size + 1))),
    file("sizes/big", big),
    file("sizes/big-copy", big),
    file("sizes/zeros", Buffer.alloc(1024 * 1024)),
    file("sizes/island", Buffer.concat([Buffer.alloc(65_536), noise(5000, 3), Buffer.alloc(65_536)])),
    dir("many"),
    ...Array.from({ length: 300 }, (_, i) => file(`many/entry-number-${i}`, `${i % 10}`)),
  ];
}

function attributes(): TarEntry[] {
  /** struct vfs_cap_data, revision 2: cap_net_raw, effective. */
  const capability = fromBytes(Buffer.from("0100000200200000000000000000000000000000", "hex"));
  /** posix_acl_xattr: user::rw-, user:1000:r--, group::r--, mask::r--, other::r--. */
  const acl = fromBytes(
    Buffer.from("0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff", "hex"),
  );
  return [
    dir("attributes", { xattrs: { "user.dir": "yes", "trusted.dir": "root only" } }),
    file("attributes/capability", "x", { mode: 0o755, xattrs: { "security.capability": capability } }),
    file("attributes/acl", "x", { mode: 0o644, xattrs: { "system.posix_acl_access": acl } }),
    file("attributes/several", "x", { xattrs: { "user.a": "\0\xff=\n", "user.b": "v".repeat(2000) } }),
    ...[1, 2, 3].map((i) => file(`attributes/shared${i}`, "x", { xattrs: { "user.shared": "same value" } })),
  ];
}

function times(): TarEntry[] {
  const stamps = ["0", "1", "-1", "1.000000001", "-1.5", "-0.000000001", "4294967296", "8589934592.999999999"];
  return [dir("times", { mtime: "-86400" }), ...stamps.map((mtime) => file(`times/${mtime}`, mtime, { mtime }))];
}

function names(): TarEntry[] {
  const odd = [
    "latin1-\xe9",
    fromText("utf8-é-名"),
    "new\nline",
    "back\\slash",
    " space ",
    "n".repeat(255),
    "...",
    "-dash",
    ".whatever",
  ];
  const deep = Array.from({ length: 40 }, (_, i) => `deep-directory-${i}`);
  return [
    dir("names"),
    ...odd.map((name) => file(`names/${name}`)),
    ...deep.map((_, i) => dir(["names", ...deep.slice(0, i + 1)].join("/"))),
    file(["names", ...deep, "bottom"].join("/")),
  ];
}

/** What the upper layers change. */
function changing(): TarEntry[] {
  return [
    dir("usr"),
    dir("usr/lib", { mtime: "1400000000" }),
    file("usr/lib/libx.so"),
    file("usr/lib/libold.so"),
    symlink("lib", "usr/lib"),
    symlink("absolute-lib", "/usr/lib"),
    dir("data", { mode: 0o750, mtime: "1400000001" }),
    file("data/a"),
    file("data/b"),
    file("data/rewritten", "old"),
    file("data/to-symlink"),
    dir("data/sub"),
    dir("data/sub/deep"),
    file("data/sub/deep/file"),
    dir("opaque", { xattrs: { "user.kept": "no" } }),
    file("opaque/old1"),
    file("opaque/both", "old"),
    dir("opaque/olddir"),
    file("opaque/olddir/x"),
    dir("dir-to-file"),
    file("dir-to-file/inside"),
    file("file-to-dir"),
    symlink("symlink-to-dir", "data"),
    file("link-source", "linked from above", { mtime: "1400000002", xattrs: { "user.source": "1" } }),
    file("link-replaced", "old content"),
    file("link-removed", "removed above, linked before"),
  ];
}

function middleLayer(): TarEntry[] {
  return [
    // Whiteouts: a file, a directory, something that is not there, and one beside its replacement, in both orders.
    file("data/.wh.a", ""),
    file("data/.wh.sub", ""),
    file("data/.wh.never-was", ""),
    file("data/.wh.rewritten", ""),
    file("data/rewritten", "new"),
    symlink("data/to-symlink", "b"),
    // An opaque directory whose mark comes after some of its new entries.
    dir("opaque", { mode: 0o711, mtime: "1450000000" }),
    file("opaque/both", "new"),
    file("opaque/.wh..wh..opq", ""),
    file("opaque/new"),
    // Parents that are symlinks of the lower layer.
    file("lib/liby.so"),
    file("absolute-lib/libz.so"),
    file("lib/.wh.libold.so", ""),
    // Parents that are only implied: new ones, and one that the lower layer has.
    file("implied/a/b/file"),
    file("data/added"),
    // Kinds that change.
    file("dir-to-file", "now a file"),
    dir("file-to-dir"),
    file("file-to-dir/inside"),
    dir("symlink-to-dir"),
    file("symlink-to-dir/inside"),
    // The same name twice: the last counts.
    file("twice", "first", { mode: 0o600, xattrs: { "user.first": "1" } }),
    file("twice", "second", { mode: 0o640 }),
    dir("twice-dir", { mode: 0o700 }),
    file("twice-dir/kept"),
    dir("twice-dir", { mode: 0o755, mtime: "1450000001" }),
    // Hard links to files of the lower layer, also through a symlink.
    hardLink("linked1", "link-source"),
    hardLink("implied/linked2", "./link-source"),
    hardLink("linked-lib", "lib/libx.so"),
    hardLink("linked-removed", "link-removed"),
    // A link made before its target is written anew keeps the old content.
    hardLink("link-kept", "link-replaced"),
    file("link-replaced", "new content"),
    // Outside the root there is nothing.
    file("../escaped"),
    file("/absolute"),
    file("a/../b/./dots"),
  ];
}

function topLayer(): TarEntry[] {
  return [
    dir("dir-to-file"),
    file("dir-to-file/again"),
    file(".wh.link-removed", ""),
    file("types/.wh.hard1", ""),
    dir("data", { mode: 0o700, mtime: "1460000000.123456789", xattrs: { "user.top": "1" } }),
    file("sizes/top-copy", noise(2 * 1024 * 1024 + 5, 7)),
    hardLink("linked3", "linked1"),
    file("opaque/.wh.new", ""),
    file("twice", "third", { xattrs: { "user.third": "3" } }),
  ];
}
