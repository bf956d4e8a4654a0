import assert from "node:assert/strict";
import {
  closeSync,
  constants,
  existsSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { constants as os, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Random } from "../../../formats/bytes/testing.ts";
import { SetattrFlag } from "../../../formats/fuse/index.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough } from "./index.ts";
import { Client, Refused } from "./testing.ts";

const { O_RDWR, O_CREAT, O_EXCL, O_TRUNC } = constants;
const ROOT = 1;
const STEPS = 15_000;
const NAMES = ["a", "b", "c", "dd", "ee", "x".repeat(200)];
const work = mkdtempSync(join(tmpdir(), "passthrough-model-"));
after(() => rmSync(work, { recursive: true }));

/** The number of the error that it ends in; 0 for none. */
function outcome(run: () => void): number {
  try {
    run();
    return 0;
  } catch (error) {
    if (error instanceof Refused) return error.errno;
    const { code } = error as NodeJS.ErrnoException;
    const number = (os.errno as Record<string, number>)[code ?? ""];
    if (number === undefined) throw error;
    return number;
  }
}

/** A tree as text: names, types, contents, links, targets. */
function describe(dir: string, prefix = ""): string[] {
  return readdirSync(dir)
    .sort()
    .flatMap((name) => {
      const path = join(dir, name);
      const stat = lstatSync(path);
      const line = `${prefix}${name} ${(stat.mode & 0o177777).toString(8)} ${stat.isDirectory() ? "" : stat.nlink}`;
      if (stat.isDirectory()) return [line, ...describe(path, `${prefix}${name}/`)];
      return [stat.isSymbolicLink() ? `${line} ${readlinkSync(path)}` : `${line} ${readFileSync(path, "hex")}`];
    });
}

for (const [seed, inodeFileHandles] of [
  [1, "auto"],
  [2, "never"],
  [3, "auto"],
] as const)
  test(`operations at random end as they do on the host's file system (seed ${seed})`, () => {
    const random = new Random(seed);
    const [mine, model] = [join(work, `mine${seed}`), join(work, `model${seed}`)];
    mkdirSync(mine);
    mkdirSync(model);
    const config = { source: mine, inodeFileHandles };
    const shared = createPassthroughShared(config);
    const client = new Client(openPassthrough(config, shared));

    /** A path of directories and a name, some of which are there. */
    const place = () => {
      const path = Array.from({ length: random.below(3) }, () => random.of(NAMES));
      return { path, name: random.of(NAMES), host: join(model, ...path) };
    };
    /** Walks down as a kernel does: a symlink or a file on the way ends it. */
    const walk = (path: readonly string[]): number => {
      let node = ROOT;
      for (const name of path) {
        const entry = client.lookup(node, name);
        if ((entry.mode & 0o170000) !== 0o040000) throw new Refused(os.errno.ENOTDIR);
        node = entry.nodeId;
      }
      return node;
    };
    /** The same for the model, which must not follow its symlinks either. */
    const check = (path: readonly string[]) => {
      let dir = model;
      for (const name of path) {
        dir = join(dir, name);
        if (!lstatSync(dir).isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR" });
      }
      return dir;
    };
    const open = new Map<string, { nodeId: number; fh: number; fd: number }>();
    const counts = new Map<string, number>();
    const act = (action: string, ours: () => void, theirs: () => void) => {
      const [a, b] = [outcome(ours), outcome(theirs)];
      assert.equal(a, b, `${action}: ours ${a}, the host's ${b}`);
      const key = `${action} ${a === 0 ? "done" : "refused"}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    };

    for (let step = 0; step < STEPS; step++) {
      const at = place();
      const to = place();
      const key = random.of(["1", "2", "3"]);
      const file = open.get(key);
      switch (
        random.of([
          "create",
          "mkdir",
          "unlink",
          "rmdir",
          "rename",
          "link",
          "symlink",
          "write",
          "read",
          "truncate",
          "close",
          "size",
        ] as const)
      ) {
        case "create": {
          if (file !== undefined) break;
          const flags = O_RDWR | O_CREAT | random.of([0, O_EXCL, O_TRUNC]);
          let [nodeId, fh, fd] = [0, 0, -1];
          const host = join(at.host, at.name);
          // O_NOFOLLOW on the model: a kernel that asks passthroughfs has followed symlinks before.
          act(
            "create",
            () => {
              const made = client.create(walk(at.path), at.name, flags, 0o644);
              [nodeId, fh] = [made.nodeId, made.fh];
            },
            () => {
              check(at.path);
              fd = openSync(host, flags | constants.O_NOFOLLOW, 0o644);
            },
          );
          if (fd >= 0) open.set(key, { nodeId, fh, fd });
          break;
        }
        case "mkdir":
          act(
            "mkdir",
            () => client.mkdir(walk(at.path), at.name),
            () => mkdirSync(join(check(at.path), at.name), 0o755),
          );
          break;
        case "unlink":
          act(
            "unlink",
            () => client.unlink(walk(at.path), at.name),
            () => unlinkSync(join(check(at.path), at.name)),
          );
          break;
        case "rmdir":
          act(
            "rmdir",
            () => client.rmdir(walk(at.path), at.name),
            () => rmdirSync(join(check(at.path), at.name)),
          );
          break;
        case "rename":
          act(
            "rename",
            () => client.rename(walk(at.path), at.name, walk(to.path), to.name),
            () => renameSync(join(check(at.path), at.name), join(check(to.path), to.name)),
          );
          break;
        case "link":
          act(
            "link",
            () => client.link(client.lookup(walk(at.path), at.name).nodeId, walk(to.path), to.name),
            () => {
              // Looked up before the other directory is walked to, as above.
              const from = join(check(at.path), at.name);
              lstatSync(from);
              linkSync(from, join(check(to.path), to.name));
            },
          );
          break;
        case "symlink":
          act(
            "symlink",
            () => client.symlink(walk(at.path), at.name, to.name),
            () => symlinkSync(to.name, join(check(at.path), at.name)),
          );
          break;
        case "write": {
          if (file === undefined) break;
          const data = Buffer.from(random.bytes(1 + random.below(300)), "latin1");
          const offset = random.below(5000);
          act(
            "write",
            () => client.write(file.nodeId, file.fh, offset, data),
            () => writeSync(file.fd, data, 0, data.length, offset),
          );
          break;
        }
        case "read": {
          if (file === undefined) break;
          const offset = random.below(6000);
          const expected = Buffer.alloc(2000);
          const bytes = readSync(file.fd, expected, 0, 2000, offset);
          assert.deepEqual(client.read(file.nodeId, file.fh, offset, 2000), expected.subarray(0, bytes));
          break;
        }
        case "truncate": {
          if (file === undefined) break;
          const size = random.below(6000);
          act(
            "truncate",
            () => client.setattr(file.nodeId, SetattrFlag.SIZE | SetattrFlag.FH, { size, fh: file.fh }),
            () => ftruncateSync(file.fd, size),
          );
          break;
        }
        case "size": {
          const host = join(at.host, at.name);
          const size = random.below(3000);
          if (!existsSync(host) || !lstatSync(host).isFile()) break;
          act(
            "size",
            () => client.setattr(client.lookup(walk(at.path), at.name).nodeId, SetattrFlag.SIZE, { size }),
            () => truncateSync(join(check(at.path), at.name), size),
          );
          break;
        }
        case "close":
          if (file === undefined) break;
          client.release(file.nodeId, file.fh);
          closeSync(file.fd);
          open.delete(key);
      }
      if (step % 500 === 0) assert.deepEqual(describe(mine), describe(model), `after step ${step}`);
    }
    assert.deepEqual(describe(mine), describe(model));
    for (const action of ["create", "mkdir", "unlink", "rename", "link"])
      for (const end of ["done", "refused"]) assert.ok((counts.get(`${action} ${end}`) ?? 0) > 5, `${action} ${end}`);
    for (const { fd } of open.values()) closeSync(fd);
    closePassthroughShared(config, shared);
  });
