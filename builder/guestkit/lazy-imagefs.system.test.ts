import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  buildTar,
  busyboxLayer,
  erofsify,
  guestEnvironment,
  type Server,
  startRegistry,
  startServer,
  writeOciLayout,
} from "../testkit/index.ts";
import { imageOfEntries, ShellGuest, VIRTIO_FS } from "./index.ts";

// An image of which nothing is here, as a tree of files in a guest: read by copy, and mapped.

const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));
const MAIN = fileURLToPath(new URL("../../bin/erofsify.js", import.meta.url));
const FOLDERS = ["dev/", "proc/", "sys/", "tmp/", "dax/", "plain/"];
const APPLETS = ["sh", "cat", "sha256sum", "find", "sort", "xargs", "mount", "dd", "wc", "sleep", "base64", "chmod"];
const MIB = 1 << 20;

function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 32) createHash("sha256").update(`${seed} ${at}`).digest().copy(bytes, at);
  return bytes;
}

const CONTENT = new Map<string, Buffer>([
  ["large", noise(12 * MIB, 1)],
  ["middle", noise(3 * MIB + 17, 2)],
  ["zeros", Buffer.alloc(MIB)],
  // Pieces of another file: one range in several places.
  ["mixed", Buffer.concat([noise(12 * MIB, 1).subarray(4 * MIB, 6 * MIB), noise(MIB, 999)])],
  ...Array.from({ length: 200 }, (_, i) => [`small/${i}`, noise(1 + i * 137, i + 3)] as const),
]);

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

test("an image that is not here, as files of a guest: every byte comes, is right, and is waited for without a stop", async (t) => {
  // Not tempDir, which goes before the servers do.
  const work = mkdtempSync(join(tmpdir(), "erofsify-lazy-imagefs-"));
  const registry = await startRegistry();
  t.after(() => registry.stop());
  const files = [...CONTENT].map(([name, content]) => ({ name, content }));
  const tar = buildTar([{ name: "small/", type: "5" }, ...files]);
  await writeOciLayout(join(work, "layout"), "v1", [tar], { Cmd: ["sh"] });
  const reference = `${registry.host}/test/files:erofs`;
  const pushed = await erofsify(["push", "--store", join(work, "store"), `oci:${work}/layout:v1`, "--to", reference]);
  assert.equal(pushed.status, 0, pushed.stderr);
  const root = await imageOfEntries([...FOLDERS.map((name) => ({ name, type: "5" })), ...busyboxLayer(APPLETS)], work);

  const servers: Server[] = [];
  let guest: ShellGuest | undefined;
  // In this order: a guest whose file system answers no more does not end by itself.
  t.after(async () => {
    await guest?.end();
    for (const server of servers.reverse()) await server.stop();
    rmSync(work, { recursive: true, force: true });
  });
  const daxDevice = await serveLazily(servers, work, reference, "dax", ["--dax=always", "--dax-read-only-trusted"]);
  const plainDevice = await serveLazily(servers, work, reference, "plain", []);
  guest = await ShellGuest.boot({
    ...root,
    memoryBytes: 512 * MIB,
    cpus: 2,
    devices: [...daxDevice, ...plainDevice],
    needs: [VIRTIO_FS],
    timeoutMs: 200_000,
    env: { ...process.env, ...(await guestEnvironment()) },
  });
  await guest.shell("mount -t virtiofs -o ro,dax=always dax /dax && mount -t virtiofs -o ro plain /plain");
  for (const folder of ["/dax", "/plain"]) {
    // Many at once: readers that wait for data hold nobody up.
    const part = (i: number) => `dd if=${folder}/large bs=64k skip=${i * 16} count=3 2>/dev/null | sha256sum`;
    const parts = [7, 0, 11, 4, 9, 2];
    const read = await guest.shell(
      `${parts.map((i) => `(${part(i)} >/tmp/${i}) &`).join(" ")} cat ${folder}/small/7 | sha256sum; wait; cat ${parts.map((i) => `/tmp/${i}`).join(" ")}`,
    );
    const expected = [
      CONTENT.get("small/7")!,
      ...parts.map((i) => CONTENT.get("large")!.subarray(i * MIB, i * MIB + 3 * 65536)),
    ];
    assert.deepEqual(read.match(/^[0-9a-f]{64}/gm), expected.map(sha256), folder);
    const sums: string = await guest.shell(`cd ${folder} && find . -type f | sort | xargs sha256sum; cd /`);
    const found = new Map(
      sums
        .trim()
        .split("\n")
        .map((line) => [line.slice(68), line.slice(0, 64)] as const),
    );
    assert.equal(found.size, files.length);
    for (const { name, content } of files) assert.equal(found.get(name), sha256(content), `${folder}/${name}`);
  }
});

/** Serves the image lazily from a store of its own. @returns QEMU's options for the device */
async function serveLazily(
  servers: Server[],
  work: string,
  reference: string,
  tag: string,
  options: readonly string[],
): Promise<readonly string[]> {
  const [store, folder, socket] = [join(work, `store-${tag}`), join(work, `image-${tag}`), join(work, `${tag}.sock`)];
  const service = await startServer(process.execPath, [BLOBD, "serve", "--store", store, "--log-level", "error"], /\{/);
  servers.push(service);
  const lease = await startServer(process.execPath, [MAIN, "lease", "--store", store, reference, folder], /until/);
  servers.push(lease);
  const args = ["virtiofs", "--socket-path", socket, "--tag", tag, "--image", folder, "--store", store, ...options];
  const server = await startServer(process.execPath, ["--enable-source-maps", BLOBD, ...args], /listening/);
  servers.push(server);
  const chardev = ["-chardev", `socket,id=${tag},path=${socket}`];
  return options.length === 0
    ? [...chardev, "-device", `vhost-user-fs-pci,chardev=${tag},tag=${tag},queue-size=1024`]
    : [
        ...chardev,
        "-device",
        `vhost-user-test-device-pci,chardev=${tag},virtio-id=26,num_vqs=2,config_size=44,vq_size=1024`,
      ];
}
