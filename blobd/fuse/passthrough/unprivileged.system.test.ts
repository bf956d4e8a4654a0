import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { constants as os, tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { SetattrFlag } from "../../../formats/fuse/index.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough } from "./index.ts";
import { Client, refusal } from "./testing.ts";

const { EACCES, EPERM } = os.errno;
const { O_RDWR, O_CREAT, O_EXCL } = constants;
const ROOT = 1;
const USER = 12345;

const [, , role, source] = process.argv;
if (role === "as-user") serveOwnDirectory(source!);
else runTests();

/** In a process of an ordinary user's. */
function serveOwnDirectory(dir: string): void {
  const config = { source: dir };
  const shared = createPassthroughShared(config);
  const client = new Client(openPassthrough(config, shared));
  // The guest's root and the guest's users are all this user here.
  for (const [uid, name] of [
    [0, "roots"],
    [1000, "users"],
  ] as const) {
    client.uid = uid;
    client.gid = uid;
    const made = client.create(ROOT, name, O_RDWR | O_CREAT | O_EXCL, 0o640);
    client.write(made.nodeId, made.fh, 0, Buffer.from(name));
    client.release(made.nodeId, made.fh);
    assert.equal(statSync(join(dir, name)).uid, USER);
    assert.equal(readFileSync(join(dir, name), "utf8"), name);
  }
  client.mkdir(ROOT, "dir");
  client.symlink(ROOT, "link", "users");
  const users = client.lookup(ROOT, "users").nodeId;
  client.setattr(users, SetattrFlag.MODE, { mode: 0o600 });
  client.setattr(users, SetattrFlag.SIZE, { size: 2 });
  client.setattr(users, SetattrFlag.MTIME | SetattrFlag.ATIME, { mtime: 5, atime: 6 });
  client.setxattr(users, "user.mine", Buffer.from("x"));
  assert.deepEqual(client.listxattr(users), ["user.mine"]);
  client.link(users, ROOT, "hard");
  client.rename(ROOT, "hard", ROOT, "renamed");
  assert.equal(
    refusal(() => client.setattr(users, SetattrFlag.UID, { uid: 0 })),
    EPERM,
  );
  assert.deepEqual(client.list(ROOT, { plus: true }), [
    "closed",
    "dir",
    "foreign",
    "link",
    "renamed",
    "roots",
    "users",
  ]);
  // Another's file is as closed as it is to the user.
  const foreign = client.lookup(ROOT, "foreign").nodeId;
  assert.equal(
    refusal(() => client.open(foreign, O_RDWR)),
    EACCES,
  );
  const closed = client.lookup(ROOT, "closed").nodeId;
  assert.equal(
    refusal(() => client.lookup(closed, "inside")),
    EACCES,
  );
  assert.equal(
    refusal(() => client.create(closed, "new", O_RDWR | O_CREAT)),
    EACCES,
  );
  assert.throws(() => createPassthroughShared({ source: dir, inodeFileHandles: "always" }), { code: "EOPNOTSUPP" });
  closePassthroughShared(config, shared);
  console.log("served");
}

function runTests(): void {
  const setpriv = "/usr/bin/setpriv";
  const reason = process.geteuid!() !== 0 ? "needs root" : !existsSync(setpriv) && "needs setpriv";
  test("an ordinary user serves a directory of their own", { skip: reason }, () => {
    const work = mkdtempSync(join(tmpdir(), "passthrough-user-"));
    try {
      chmodSync(work, 0o755);
      const dir = join(work, "own");
      mkdirSync(join(dir, "closed"), { recursive: true, mode: 0o755 });
      chmodSync(join(dir, "closed"), 0o700);
      writeFileSync(join(dir, "foreign"), "root's", { mode: 0o600 });
      chownSync(dir, USER, USER);
      const script = fileURLToPath(import.meta.url);
      const as = [
        "--reuid",
        `${USER}`,
        "--regid",
        `${USER}`,
        "--clear-groups",
        "--bounding-set=-all",
        process.execPath,
      ];
      const printed = execFileSync(setpriv, [...as, script, "as-user", dir], { encoding: "utf8" });
      assert.equal(printed, "served\n");
      assert.equal(readFileSync(join(dir, "foreign"), "utf8"), "root's");
    } finally {
      rmSync(work, { recursive: true });
    }
  });
}
