import assert from "node:assert/strict";
import { chmodSync, cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { buildTar, erofsify, guestEnvironment, tempDir, writeOciLayout } from "../testkit/index.ts";

// Guests that are not started, and why. No VMM runs here but for the ones that break.

const directory = tempDir();
const image = `oci:${directory}/layout:app`;
const store = join(directory, "store");
const exported = join(directory, "exported");
let env: Record<string, string>;

before(async () => {
  const noise = Buffer.from(Array.from({ length: 10_000 }, (_, i) => (i * i) & 0xff));
  await writeOciLayout(join(directory, "layout"), "app", [buildTar([{ name: "file", content: noise }])], {
    Cmd: ["/file"],
  });
  env = { ...(await guestEnvironment()), EROFSIFY_STORE: store };
  const { status, stderr } = await erofsify(["-q", image, "-o", exported], { env });
  assert.equal(status, 0, stderr);
});

interface Refusal {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly message: RegExp;
  readonly status?: number;
}

async function assertRefused({ args, env: more, message, status = 125 }: Refusal): Promise<void> {
  const result = await erofsify(["run", "--quiet", "--timeout", "60", ...args], { env: { ...env, ...more } });
  assert.match(result.stderr, message);
  assert.equal(result.status, status, result.stderr);
  assert.equal(result.stdout, "");
}

const refusals: Readonly<Record<string, Refusal>> = {
  "no QEMU in PATH": {
    args: [image],
    env: { EROFSIFY_QEMU: "", PATH: "/nonexistent" },
    message: /^erofsify: no qemu-system-x86_64 in PATH: install QEMU .* --qemu or EROFSIFY_QEMU\n$/,
  },
  "a QEMU that is none": { args: ["--qemu", "/etc/passwd", image], message: /\/etc\/passwd is not a program/ },
  "a QEMU that fails": {
    args: ["--qemu", "/bin/false", "--accel", "tcg", image],
    message: /the guest ended without an exit status/,
  },
  "no kernel": { args: ["--kernel", "/no/kernel", image], message: /^erofsify: no kernel \/no\/kernel\n$/ },
  "a kernel that is none": {
    args: ["--kernel", "/bin/true", image],
    message: /\/bin\/true: vmlinux at byte 0: no Linux banner/,
  },
  "too little memory": {
    args: ["--memory", "100MiB", image],
    message: /^erofsify: 100 MiB of memory are too little: kernel and image need \d+ MiB/,
  },
  "too many processors": { args: ["--cpus", "256", image], message: /--cpus: found 256, expected 1 to 255/ },
  "a scratch disk too small": { args: ["--rw-size", "1MiB", image], message: /expected at least 8 MiB/ },
  "an image that is nowhere": { args: [`oci:${directory}/absent:x`], message: /absent/ },
  "a wrong size": { args: ["--memory", "lots", image], message: /--memory lots: expected a size/, status: 2 },
  "--read-only with a scratch disk": {
    args: ["--read-only", "--rw-size", "1GiB", image],
    message: /exclude each other/,
    status: 2,
  },
  "no command": { args: [exported], message: /the image names no command; give one after --/ },
};
for (const [name, refusal] of Object.entries(refusals)) test(`${name} is refused`, () => assertRefused(refusal));

test("a kernel without a needed option is refused, with the option's name", async () => {
  const folder = join(directory, "kernel");
  cpSync(join(env.EROFSIFY_KERNEL!, ".."), folder, { recursive: true, filter: (path) => !path.includes("/kernel/") });
  const config = readFileSync(join(folder, "config"), "utf8");
  writeFileSync(join(folder, "config"), config.replace("CONFIG_FS_DAX=y", "# CONFIG_FS_DAX is not set"));
  const message = /cannot run the image: it lacks CONFIG_FS_DAX \(file data is mapped, not copied\)\n$/;
  await assertRefused({ args: ["--kernel", join(folder, "vmlinuz"), image], message });
});

test("an image of another architecture is refused", async () => {
  const copy = join(directory, "arm64-store");
  cpSync(store, copy, { recursive: true });
  const [name] = readdirSync(join(copy, "images"));
  const record = join(copy, "images", name!);
  writeFileSync(record, readFileSync(record, "utf8").replace(/"architecture":\s*"\w+"/, '"architecture":"arm64"'));
  const message = /the image is for linux\/arm64, a guest of this machine is linux\/amd64/;
  await assertRefused({ args: [image], env: { EROFSIFY_STORE: copy }, message });
});

/** A copy of the exported image with one blob changed by `damage`. */
function damaged(name: string, damage: (blobPath: string) => void): string {
  const folder = join(directory, name);
  cpSync(exported, folder, { recursive: true });
  const blobs = join(folder, "blobs/sha256");
  const blob = join(blobs, readdirSync(blobs)[0]!);
  chmodSync(blob, 0o644);
  damage(blob);
  return folder;
}

const damages: Readonly<Record<string, readonly [damage: (blobPath: string) => void, message: RegExp]>> = {
  missing: [(path) => rmSync(path), /needs the blob [0-9a-f]{64}, looked for/],
  "of the wrong size": [(path) => truncateSync(path, 4096), /has 4096 bytes, the image says 2097152/],
  changed: [
    (path) => {
      const bytes = readFileSync(path);
      bytes[100]! ^= 1;
      writeFileSync(path, bytes);
    },
    /has changed: it does not have the digest [0-9a-f]{64} that the image names/,
  ],
};
for (const [name, [damage, message]] of Object.entries(damages))
  test(`an image with a blob ${name} is refused`, () =>
    assertRefused({ args: [damaged(name, damage), "--", "/file"], message }));

test("an image of the store that was changed is converted again before anything starts", async () => {
  const blobs = join(store, "blobs/sha256");
  for (const name of readdirSync(blobs)) {
    const path = join(blobs, name);
    const bytes = readFileSync(path);
    bytes[100]! ^= 1;
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
  }
  await assertRefused({ args: [image], env: { EROFSIFY_KERNEL: "/no/kernel" }, message: /no kernel/ });
  const { status, stdout } = await erofsify(["check", image], { env });
  assert.equal(status, 0, stdout);
});
