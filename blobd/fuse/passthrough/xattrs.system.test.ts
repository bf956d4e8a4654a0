import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { constants as os, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { listXattrs } from "../../sys/index.ts";
import { closePassthroughShared, createPassthroughShared, openPassthrough, type PassthroughConfig } from "./index.ts";
import { Client, refusal } from "./testing.ts";
import { parseXattrMap, xattrToGuest, xattrToHost } from "./xattr-map.ts";

const { ENODATA, EEXIST, EOPNOTSUPP, ENOSYS, EPERM, ERANGE, EROFS, ENAMETOOLONG, EINVAL } = os.errno;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
const ROOT = 1;
const isRoot = process.geteuid!() === 0;
const dir = mkdtempSync(join(tmpdir(), "passthrough-xattrs-"));
after(() => rmSync(dir, { recursive: true }));
const on = (file: string) => join(dir, file);

function serve(options: Partial<PassthroughConfig> = {}): Client {
  const config = { source: dir, ...options };
  const shared = createPassthroughShared(config);
  after(() => closePassthroughShared(config, shared));
  return new Client(openPassthrough(config, shared));
}

test("attributes are set, read, listed and removed", () => {
  const client = serve();
  writeFileSync(on("file"), "");
  const { nodeId } = client.lookup(ROOT, "file");
  const value = Buffer.from([0, 1, 255, 128]);
  client.setxattr(nodeId, "user.bytes", value);
  client.setxattr(nodeId, "user.empty", Buffer.alloc(0));
  assert.deepEqual(client.getxattr(nodeId, "user.bytes"), value);
  assert.equal(client.getxattr(nodeId, "user.empty").length, 0);
  assert.equal(client.getxattr(nodeId, "user.bytes", 0).readUInt32LE(0), 4, "its length");
  assert.equal(
    refusal(() => client.getxattr(nodeId, "user.bytes", 3)),
    ERANGE,
  );
  assert.deepEqual(client.listxattr(nodeId), ["user.bytes", "user.empty"]);
  assert.equal(
    refusal(() => client.listxattr(nodeId, 5)),
    ERANGE,
  );
  assert.deepEqual(
    listXattrs(on("file")).map(({ name }) => name),
    ["user.bytes", "user.empty"],
  );
  assert.equal(
    refusal(() => client.setxattr(nodeId, "user.bytes", value, XATTR_CREATE)),
    EEXIST,
  );
  assert.equal(
    refusal(() => client.setxattr(nodeId, "user.none", value, XATTR_REPLACE)),
    ENODATA,
  );
  client.removexattr(nodeId, "user.bytes");
  assert.equal(
    refusal(() => client.getxattr(nodeId, "user.bytes")),
    ENODATA,
  );
  assert.equal(
    refusal(() => client.getxattr(nodeId, `user.${"x".repeat(300)}`)),
    ERANGE,
  );
  assert.equal(
    refusal(() => client.removexattr(nodeId, "nonsense")),
    EOPNOTSUPP,
  );
});

test("a symlink's own attributes, not those of what it points to", { skip: !isRoot && "trusted.* needs root" }, () => {
  const client = serve();
  writeFileSync(on("target"), "");
  symlinkSync("target", on("link"));
  const { nodeId } = client.lookup(ROOT, "link");
  client.setxattr(nodeId, "trusted.of", Buffer.from("link"));
  assert.equal(client.getxattr(nodeId, "trusted.of").toString(), "link");
  assert.deepEqual(listXattrs(on("target")), []);
  assert.equal(listXattrs(on("link")).length, 1);
});

test("without the option there are none, and access control lists are not seen", () => {
  const client = serve({ xattr: false });
  assert.equal(
    refusal(() => client.getxattr(ROOT, "user.x")),
    ENOSYS,
  );
  assert.equal(
    refusal(() => client.listxattr(ROOT)),
    ENOSYS,
  );
  const plain = serve();
  assert.equal(
    refusal(() => plain.getxattr(ROOT, "system.posix_acl_access")),
    EOPNOTSUPP,
  );
  const readOnly = serve({ readOnly: true });
  assert.equal(
    refusal(() => readOnly.setxattr(ROOT, "user.x", Buffer.alloc(1))),
    EROFS,
  );
  assert.equal(
    refusal(() => readOnly.removexattr(ROOT, "user.x")),
    EROFS,
  );
});

/** An access control list: user::rwx, user:ID:rwx, group::---, mask::rwx, other::--- */
function acl(uid: number): Buffer {
  const entries: [tag: number, permissions: number, id: number][] = [
    [1, 7, 0xffff_ffff],
    [2, 7, uid],
    [4, 0, 0xffff_ffff],
    [16, 7, 0xffff_ffff],
    [32, 0, 0xffff_ffff],
  ];
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * index);
    bytes.writeUInt16LE(permissions, 6 + 8 * index);
    bytes.writeUInt32LE(id, 8 + 8 * index);
  }
  return bytes;
}

test("a directory's default list decides over new files' modes, the umask else", {
  skip: !isRoot && "needs root",
}, () => {
  const client = serve({ posixAcl: true });
  const directory = client.mkdir(ROOT, "acl", 0o755);
  client.setxattr(directory.nodeId, "system.posix_acl_default", acl(1000));
  const made = client.create(directory.nodeId, "file", 0o102, 0o666);
  assert.equal(statSync(on("acl/file")).mode & 0o777, 0o660, "by the list's mask");
  assert.ok(client.listxattr(made.nodeId).includes("system.posix_acl_access"));
  client.create(ROOT, "no-acl", 0o102, 0o666);
  assert.equal(statSync(on("no-acl")).mode & 0o777, 0o644, "by the umask that was sent");
  assert.equal(
    refusal(() => client.setxattr(directory.nodeId, "system.posix_acl_default", Buffer.alloc(5))),
    EOPNOTSUPP,
  );
});

test("IDs in access control lists are mapped too", { skip: !isRoot && "needs root" }, () => {
  const map = [{ guest: 0, host: 100_000, count: 5000 }];
  const client = serve({ posixAcl: true, uidMap: map, gidMap: map });
  writeFileSync(on("mapped"), "");
  const { nodeId } = client.lookup(ROOT, "mapped");
  client.setxattr(nodeId, "system.posix_acl_access", acl(1000));
  assert.deepEqual(client.getxattr(nodeId, "system.posix_acl_access"), acl(1000));
  const host = serve({ posixAcl: true });
  const onHost = host.getxattr(host.lookup(ROOT, "mapped").nodeId, "system.posix_acl_access");
  assert.deepEqual(onHost, acl(101_000));
  assert.equal(
    refusal(() => client.setxattr(nodeId, "system.posix_acl_access", acl(70_000))),
    EINVAL,
  );
});

test("setting a list takes a set-group-ID bit from who may not keep it", { skip: !isRoot && "needs root" }, () => {
  const client = serve({ posixAcl: true });
  writeFileSync(on("sgid"), "");
  execFileSync("chgrp", ["4321", on("sgid")]);
  chmodSync(on("sgid"), 0o2755);
  const { nodeId } = client.lookup(ROOT, "sgid");
  client.setxattr(nodeId, "system.posix_acl_access", acl(1));
  assert.equal(statSync(on("sgid")).mode & 0o2000, 0o2000, "root keeps it");
});

test("names are mapped by rules", { skip: !isRoot && "trusted.* needs root" }, () => {
  const client = serve({ xattrMap: ":map:trusted.:user.virtiofs.:" });
  writeFileSync(on("rules"), "");
  const { nodeId } = client.lookup(ROOT, "rules");
  client.setxattr(nodeId, "trusted.t", Buffer.from("guest's"));
  client.setxattr(nodeId, "user.u", Buffer.from("u"));
  assert.deepEqual(
    listXattrs(on("rules")).map(({ name }) => name),
    ["user.u", "user.virtiofs.trusted.t"],
  );
  assert.deepEqual(client.listxattr(nodeId), ["trusted.t", "user.u"]);
  assert.equal(client.getxattr(nodeId, "trusted.t").toString(), "guest's");
  assert.equal(
    refusal(() => client.getxattr(nodeId, "user.virtiofs.trusted.t")),
    EPERM,
  );
  assert.equal(
    refusal(() => client.setxattr(nodeId, `trusted.${"x".repeat(247)}`, Buffer.alloc(1))),
    ENAMETOOLONG,
  );
});

test("rules, in virtiofsd's own examples", () => {
  const all = parseXattrMap(":prefix:all::user.virtiofs.::bad:all:::");
  assert.deepEqual(xattrToHost(all, "trusted.x"), { name: "user.virtiofs.trusted.x" });
  assert.equal(xattrToGuest(all, "user.virtiofs.trusted.x"), "trusted.x");
  assert.equal(xattrToGuest(all, "security.selinux"), null);
  assert.deepEqual(parseXattrMap(":map::user.virtiofs.:"), all);
  const trusted = parseXattrMap(
    "/prefix/all/trusted./user.virtiofs./ /bad/server//trusted./ /bad/client/user.virtiofs.// /ok/all///",
  );
  assert.deepEqual(parseXattrMap("/map/trusted./user.virtiofs./"), trusted);
  assert.equal(xattrToGuest(trusted, "trusted.hosts"), null);
  assert.equal(xattrToHost(trusted, "user.virtiofs.trusted.x"), "refused");
  assert.deepEqual(xattrToHost(trusted, "user.x"), { name: "user.x" });
  const selinux = parseXattrMap("/unsupported/client/security.selinux//  /ok/all///");
  assert.equal(xattrToHost(selinux, "security.selinux"), "unsupported");
  for (const bad of ["", ":", ":prefix:all", ":what:all:::", ":ok:some:::", ":map:x::", ":ok:all:::x"])
    assert.throws(() => parseXattrMap(bad), RangeError, bad);
});
