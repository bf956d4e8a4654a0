import assert from "node:assert/strict";
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { constants as os, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { AttrFlag, SetattrFlag } from "../../../formats/fuse/index.ts";
import { type DaxWindow, RANGE_BYTES } from "../index.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough, type PassthroughConfig } from "./index.ts";
import { Client, refusal } from "./testing.ts";

const { EINVAL, EISDIR, ENOTDIR, ESTALE } = os.errno;
const { O_RDWR, O_WRONLY, O_CREAT, O_TRUNC, O_APPEND } = constants;
const ROOT = 1;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const work = mkdtempSync(join(tmpdir(), "passthrough-mapping-"));
after(() => rmSync(work, { recursive: true }));

/** Writes down what it is told, and how large the file is at that moment: mapped pages must lie in the file throughout. */
class NotingWindow implements DaxWindow {
  readonly bytes = 16 * RANGE_BYTES;
  readonly notes: string[] = [];
  readonly #fds = new Map<number, number>();
  status = 0;

  map(nodeId: number, fd: number, fileOffset: number, windowOffset: number): number {
    this.#fds.set(nodeId, fd);
    this.notes.push(`map ${fileOffset / RANGE_BYTES} at ${windowOffset / RANGE_BYTES}, ${fstatSync(fd).size}`);
    return this.status;
  }
  mapPieces(): number {
    assert.fail("a directory's files lie in one piece");
  }
  remove(windowOffset: number, bytes: number): number {
    this.notes.push(`remove ${windowOffset / RANGE_BYTES} ${bytes / RANGE_BYTES}`);
    return this.status;
  }
  grow(nodeId: number, fileBytes: number): number {
    assert.ok(this.#size(nodeId) >= fileBytes, "what is mapped is there");
    this.notes.push(`grow ${fileBytes}`);
    return this.status;
  }
  shrink(nodeId: number, fileBytes: number): number {
    this.notes.push(`shrink ${fileBytes} from ${this.#size(nodeId)}`);
    return this.status;
  }
  removeAll(): void {
    this.notes.push("remove all");
  }
  #size(nodeId: number): number {
    return fstatSync(this.#fds.get(nodeId)!).size;
  }
  /** What was noted since the last time. */
  take(): string[] {
    return this.notes.splice(0);
  }
  close(): void {
    for (const fd of this.#fds.values()) closeSync(fd);
  }
}

function serve(name: string, options: Partial<PassthroughConfig> = {}) {
  const source = join(work, name);
  mkdirSync(source);
  const config = { source, ...options };
  const shared = createPassthroughShared(config);
  const window = new NotingWindow();
  after(() => {
    closePassthroughShared(config, shared);
    window.close();
  });
  return { source, window, client: new Client(openPassthrough(config, shared, window)) };
}

test("a mapping follows the file's size: before it is told, and before what is cut goes", () => {
  const { client, window, source } = serve("follow");
  const file = join(source, "file");
  writeFileSync(file, Buffer.alloc(5000));
  const { nodeId } = client.lookup(ROOT, "file");
  assert.deepEqual(window.take(), [], "nothing is mapped yet");
  client.setupMapping(nodeId, 0, 3 * RANGE_BYTES);
  assert.deepEqual(window.take(), ["map 0 at 3, 5000"]);

  const fh = client.open(nodeId, O_RDWR);
  client.write(nodeId, fh, 9000, Buffer.alloc(1000));
  assert.deepEqual(window.take(), ["grow 10000"]);
  client.setattr(nodeId, SetattrFlag.SIZE | SetattrFlag.FH, { size: 20_000, fh });
  assert.ok(window.take().includes("grow 20000"));
  client.fallocate(nodeId, fh, 0, 0, 30_000);
  assert.deepEqual(window.take(), ["grow 30000"]);

  truncateSync(file, 40_000);
  client.getattr(nodeId);
  assert.deepEqual(window.take(), ["grow 40000"], "the host made it grow");
  truncateSync(file, 50_000);
  client.lookup(ROOT, "file");
  assert.deepEqual(window.take(), ["grow 50000"]);
  truncateSync(file, 60_000);
  client.list(ROOT, { plus: true });
  assert.deepEqual(window.take(), ["grow 60000"]);

  client.setattr(nodeId, SetattrFlag.SIZE, { size: 100 });
  assert.equal(window.take()[0], "shrink 100 from 60000", "before it is cut");
  client.release(nodeId, client.open(nodeId, O_WRONLY | O_TRUNC));
  assert.equal(window.take()[0], "shrink 0 from 100");
  client.write(nodeId, fh, 0, Buffer.alloc(300));
  window.take();
  const again = client.create(ROOT, "file", O_RDWR | O_CREAT | O_TRUNC);
  assert.equal(window.take()[0], "shrink 0 from 300");
  client.release(nodeId, again.fh);

  const append = client.open(nodeId, O_WRONLY | O_APPEND);
  client.write(nodeId, append, 0, Buffer.alloc(77));
  assert.deepEqual(window.take(), ["grow 77"]);
  client.release(nodeId, append);

  const other = client.create(ROOT, "other", O_RDWR | O_CREAT);
  client.write(other.nodeId, other.fh, 0, Buffer.alloc(1000, 7));
  window.take();
  assert.equal(client.copyFileRange([other.nodeId, other.fh, 0], [nodeId, fh, 500], 1000), 1000);
  assert.deepEqual(window.take(), ["grow 1500"]);
  assert.equal(client.copyFileRange([nodeId, fh, 0], [other.nodeId, other.fh, 5000], 10), 10);
  assert.deepEqual(window.take(), [], "the other is not mapped");

  client.removeMapping(nodeId, [
    [3 * RANGE_BYTES, RANGE_BYTES],
    [0, 2 * RANGE_BYTES],
  ]);
  assert.deepEqual(window.take(), ["remove 3 1", "remove 0 2"]);
  client.fs.destroy();
  assert.deepEqual(window.take(), ["remove all"]);
});

test("a file that cannot be cut after all keeps its mapping", {
  skip: process.geteuid!() !== 0 && "needs root",
}, () => {
  const { client, window, source } = serve("keep");
  writeFileSync(join(source, "file"), Buffer.alloc(5000));
  const { nodeId } = client.lookup(ROOT, "file");
  client.setupMapping(nodeId, 0, 0);
  window.take();
  const fh = client.open(nodeId, constants.O_RDONLY);
  assert.equal(
    refusal(() => client.setattr(nodeId, SetattrFlag.SIZE | SetattrFlag.FH, { size: 1, fh })),
    EINVAL,
  );
  assert.deepEqual(window.take(), ["shrink 1 from 5000", "grow 5000"]);
  // When the window cannot be changed, the file is not either.
  window.status = -os.errno.EIO;
  assert.equal(
    refusal(() => client.setattr(nodeId, SetattrFlag.SIZE, { size: 1 })),
    os.errno.EIO,
  );
  assert.equal(
    refusal(() => client.open(nodeId, O_RDWR | O_TRUNC)),
    os.errno.EIO,
  );
  assert.equal(statSync(join(source, "file")).size, 5000);
});

test("what was appended is not appended again when the request comes once more for its mapping's sake", () => {
  const { client, window, source } = serve("append");
  writeFileSync(join(source, "file"), "one ");
  const { nodeId } = client.lookup(ROOT, "file");
  client.setupMapping(nodeId, 0, 0);
  const fh = client.open(nodeId, O_WRONLY | O_APPEND);
  window.status = -os.errno.EINTR;
  assert.equal(
    refusal(() => client.write(nodeId, fh, 4, Buffer.from("two "))),
    os.errno.EINTR,
  );
  window.status = 0;
  client.isSameRequest = true;
  assert.equal(client.write(nodeId, fh, 4, Buffer.from("two ")), 4);
  client.isSameRequest = false;
  client.write(nodeId, fh, 4, Buffer.from("two "));
  assert.equal(readFileSync(join(source, "file"), "utf8"), "one two two ");
});

test("files, in whole ranges, inside the window", () => {
  const { client, window } = serve("refused");
  const made = client.create(ROOT, "file", O_RDWR | O_CREAT);
  const dir = client.mkdir(ROOT, "dir");
  const link = client.symlink(ROOT, "link", "file");
  const refused: [nodeId: number, fileOffset: number, windowOffset: number, bytes: number][] = [
    [dir.nodeId, 0, 0, RANGE_BYTES],
    [link.nodeId, 0, 0, RANGE_BYTES],
    [made.nodeId, 4096, 0, RANGE_BYTES],
    [made.nodeId, 0, 4096, RANGE_BYTES],
    [made.nodeId, 0, window.bytes, RANGE_BYTES],
    [made.nodeId, 0, 0, RANGE_BYTES + 1],
    [made.nodeId, 0, 2 ** 52, RANGE_BYTES],
    [99, 0, 0, RANGE_BYTES],
  ];
  for (const [nodeId, ...range] of refused)
    assert.ok([EINVAL, EISDIR, ENOTDIR, ESTALE].includes(refusal(() => client.setupMapping(nodeId, ...range))));
  assert.equal(
    refusal(() => client.removeMapping(made.nodeId, [[window.bytes, RANGE_BYTES]])),
    EINVAL,
  );
  assert.deepEqual(window.take(), []);
});

test("small files are not flagged, nor any when there is nothing to map them with", () => {
  const flagOf = (client: Client, name: string) => client.lookup(ROOT, name).flags & AttrFlag.DAX;
  const small = serve("inode", { daxThresholdBytes: 1000 });
  writeFileSync(join(small.source, "small"), Buffer.alloc(999));
  writeFileSync(join(small.source, "large"), Buffer.alloc(1000));
  mkdirSync(join(small.source, "dir"));
  assert.deepEqual(
    ["small", "large", "dir"].map((name) => flagOf(small.client, name)),
    [0, AttrFlag.DAX, 0],
  );
  const always = serve("always", { dax: "always" });
  writeFileSync(join(always.source, "small"), "x");
  assert.equal(flagOf(always.client, "small"), AttrFlag.DAX);
  for (const [name, options] of [
    ["never", { dax: "never" }],
    ["ro", { readOnly: true, dax: "always" }],
  ] as const) {
    const { client, source } = serve(name, options);
    writeFileSync(join(source, "file"), Buffer.alloc(1 << 20));
    assert.equal(flagOf(client, "file"), 0);
    assert.equal(client.fs.setupMapping, undefined);
  }
  const trusted = serve("trusted", { readOnly: true, dax: "always", daxReadOnlyTrusted: true });
  writeFileSync(join(trusted.source, "file"), "x");
  const { nodeId, flags } = trusted.client.lookup(ROOT, "file");
  assert.equal(flags & AttrFlag.DAX, AttrFlag.DAX);
  trusted.client.setupMapping(nodeId, 0, 0);
});

test("holes are found and made", () => {
  const { client, source } = serve("holes");
  const { nodeId, fh } = client.create(ROOT, "sparse", O_RDWR | O_CREAT);
  client.write(nodeId, fh, 1 << 20, Buffer.alloc(1 << 16, 1));
  assert.equal(client.lseek(nodeId, fh, 0, SEEK_DATA), 1 << 20);
  assert.equal(client.lseek(nodeId, fh, 1 << 20, SEEK_HOLE), (1 << 20) + (1 << 16));
  client.fallocate(nodeId, fh, 3, 1 << 20, 1 << 16);
  assert.ok(readFileSync(join(source, "sparse")).every((byte) => byte === 0));
  assert.equal(
    refusal(() => client.fallocate(nodeId, fh, 8, 0, 4096)),
    EINVAL,
    "collapsing would move what is mapped",
  );
});
