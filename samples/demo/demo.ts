/**
 * The demo's second half: a registry on loopback, the image pushed into it, converted by `erofsify`, mounted, shown, and run in
 * a guest of the lab's QEMU and kernel.
 * The first half (packages, the image itself) is shell: run.sh.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { guestEnvironment, pushImage, startRegistry } from "../../builder/testkit/index.ts";

const CLI = fileURLToPath(new URL("../../bin/erofsify.js", import.meta.url));

/** Runs a command before the viewer's eyes. @throws Error when it fails */
function show(title: string, command: string, ...args: string[]): void {
  process.stdout.write(
    `\n\x1b[1m== ${title}\x1b[0m\n$ ${[command, ...args]
      .join(" ")
      .replace(CLI, "erofsify")
      .replace(/^\S*node /, "")}\n`,
  );
  const { status, error } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? `exit ${status}`}`);
}

const erofsify = (title: string, ...args: string[]) => show(title, process.execPath, CLI, ...args);
const shell = (title: string, script: string) => show(title, "sh", "-c", script);

/** Shown by a shell of the image, in the guest. */
const IN_GUEST = `. /etc/os-release
echo "hello from $PRETTY_NAME on Linux $(uname -r), as $(id -un) in $(pwd)"
echo "the image: $(grep erofs /proc/1/mounts)"
grep ^Cached /proc/meminfo
echo "read $(find / -xdev -type f -exec cat {} + | wc -c) bytes, all of the image"
grep ^Cached /proc/meminfo`;

const [layout] = process.argv.slice(2);
if (layout === undefined) throw new Error("usage: demo.js LAYOUT (run samples/demo/run.sh)");
const work = mkdtempSync(join(tmpdir(), "erofsify-demo-"));
process.env.EROFSIFY_STORE = join(work, "store");
const mountpoint = join(work, "mnt");
const registry = await startRegistry();
let mounted = false;
try {
  const image = `${registry.host}/demo:latest`;
  process.stdout.write(
    `\x1b[1m== A registry on ${registry.host}, and an image of three layers pushed into it\x1b[0m\n`,
  );
  await pushImage(layout, "latest", image);
  erofsify("Convert it: layers in parallel, verified, deduplicated, chunk-aligned", image);
  erofsify("Again: every layer is in the store already", image);
  erofsify("What is in it", "inspect", image);
  erofsify("Verify structure, checksums and blob digests", "check", image);
  erofsify("Mount it: the kernel reads metadata and blobs, nothing is unpacked", "mount", image, mountpoint);
  mounted = true;
  shell("The kernel's view", `grep ${mountpoint} /proc/mounts; ls -l ${mountpoint}; df -h ${mountpoint} | tail -1`);
  shell(
    "It is a whole system: run a program from it",
    `chroot ${mountpoint} /bin/sh -c '. /etc/os-release; echo "hello from $PRETTY_NAME"'`,
  );
  shell(
    "What the top layer did: a hard link into a lower layer, a capability, a fifo, a device, an opaque directory",
    `cd ${mountpoint}; find . -xdev \\( -type p -o -type c -o -links +1 -type f \\) -ls | head; getcap -r . 2>/dev/null | head -3`,
  );
  erofsify("Take it down", "umount", mountpoint);
  mounted = false;
  erofsify(
    "The same as one flat file, for any Linux from 5.16 on",
    "--quiet",
    "--single",
    join(work, "demo.erofs"),
    image,
  );
  shell(
    "fsck.erofs agrees",
    `ls -ls ${join(work, "demo.erofs")}; fsck.erofs ${join(work, "demo.erofs")} && echo "fsck.erofs: no error found"`,
  );
  Object.assign(process.env, await guestEnvironment());
  erofsify(
    "Run it in a microVM: its files are memory of the guest, mapped from the host's page cache",
    "run",
    "--timings",
    image,
    "--",
    "sh",
    "-c",
    IN_GUEST,
  );
} finally {
  if (mounted) spawnSync(process.execPath, [CLI, "umount", mountpoint]);
  await registry.stop();
  rmSync(work, { recursive: true, force: true });
}
