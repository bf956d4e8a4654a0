import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FormatError } from "../../../formats/bytes/index.ts";
import { VmError } from "../errors.ts";
import { bzImageVersion, findKernel, moduleName, planModules, requireKernel, vmlinuxVersion } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "erofsify-kernel-"));
after(() => rmSync(folder, { recursive: true }));

/** A boot sector and setup header as far as they are read. Offsets typed anew from boot.rst. */
function bzImage(version: string): Buffer {
  const image = Buffer.alloc(0x1000);
  image.write("HdrS", 0x202);
  image.writeUInt16LE(0x600, 0x20e);
  image.write(`${version} (builder@host) #1 SMP\0`, 0x800);
  return image;
}

const LISTS = {
  dep: [
    "kernel/drivers/nvdimm/libnvdimm.ko.xz:",
    "kernel/drivers/nvdimm/nd_virtio.ko.xz:",
    "kernel/drivers/nvdimm/virtio_pmem.ko.xz: kernel/drivers/nvdimm/nd_virtio.ko.xz kernel/drivers/nvdimm/libnvdimm.ko.xz",
    "kernel/drivers/nvdimm/nd_btt.ko.xz: kernel/drivers/nvdimm/libnvdimm.ko.xz",
    "kernel/drivers/nvdimm/nd_pmem.ko.xz: kernel/drivers/nvdimm/nd_btt.ko.xz kernel/drivers/nvdimm/libnvdimm.ko.xz",
    "kernel/fs/erofs/erofs.ko.xz:",
    "kernel/fs/overlayfs/overlay.ko.xz:",
    "kernel/crypto/crc32c-generic.ko.xz:",
    "",
  ].join("\n"),
  builtin: "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/char/virtio_console.ko\n",
  softdep: "# comment\nsoftdep erofs pre: crc32c_generic some_alias post: other\n",
};
const NEEDS = { transport: "pci", overlay: true, channels: true, scratch: false } as const;

test("modules come after what they need, each once; built-in ones not at all", () => {
  const { files, missing } = planModules(LISTS, ["virtio-pmem", "virtio_pci", "nd_pmem", "erofs"]);
  assert.deepEqual(missing, []);
  const names = files.map(moduleName);
  assert.deepEqual([...names].sort(), [
    ...["crc32c_generic", "erofs", "libnvdimm", "nd_btt", "nd_pmem", "nd_virtio", "virtio_pmem"],
  ]);
  for (const [later, earlier] of [
    ["virtio_pmem", "nd_virtio"],
    ["virtio_pmem", "libnvdimm"],
    ["nd_pmem", "nd_btt"],
    ["nd_btt", "libnvdimm"],
    ["erofs", "crc32c_generic"],
  ] as const)
    assert.ok(names.indexOf(later) > names.indexOf(earlier), `${later} after ${earlier}`);
});

test("modules that are nowhere are told; dependencies in a circle end", () => {
  assert.deepEqual(planModules(LISTS, ["ext4", "erofs"]).missing, ["ext4"]);
  const circle = { dep: "a.ko: b.ko\nb.ko: a.ko\n", builtin: "", softdep: "" };
  assert.deepEqual(planModules(circle, ["a"]), { files: ["b.ko", "a.ko"], missing: [] });
});

test("the version of a kernel image", () => {
  assert.equal(bzImageVersion(bzImage("6.1.0-13-cloud-amd64")), "6.1.0-13-cloud-amd64");
  assert.equal(bzImageVersion(bzImage("7.2.13+deb14-cloud-amd64")), "7.2.13+deb14-cloud-amd64");
  assert.throws(() => bzImageVersion(Buffer.from("MZ")), FormatError);
  assert.throws(() => bzImageVersion(Buffer.alloc(4096)), FormatError);
  const outside = bzImage("6.1");
  outside.writeUInt16LE(0xffff, 0x20e);
  assert.throws(() => bzImageVersion(outside), FormatError);
});

test("the version of an uncompressed kernel is in its banner, not in its format string", () => {
  const image = Buffer.from("\x7fELF...Linux version %s (%s)\0...Linux version 6.1.55 (x@y) #1\0", "latin1");
  assert.equal(vmlinuxVersion(image), "6.1.55");
  assert.throws(() => vmlinuxVersion(Buffer.from("\x7fELF nothing")), FormatError);
});

/** A kernel with its modules folder beside it, as Debian's are laid out. */
function install(name: string, config: string | undefined, lists = LISTS): string {
  const root = join(folder, name);
  const modules = join(root, "lib/modules/6.1.0-test");
  mkdirSync(modules, { recursive: true });
  mkdirSync(join(root, "boot"));
  for (const [list, text] of Object.entries(lists)) writeFileSync(join(modules, `modules.${list}`), text);
  if (config !== undefined) writeFileSync(join(root, "boot/config-6.1.0-test"), config);
  const path = join(root, "boot/vmlinuz-6.1.0-test");
  writeFileSync(path, bzImage("6.1.0-test"));
  return path;
}

const BUILT_IN = [
  "BLK_DEV_INITRD",
  "DEVTMPFS",
  "TMPFS",
  "CGROUPS",
  "ND_CLAIM",
  "FS_DAX",
  "VIRTIO_PCI",
  "VIRTIO_CONSOLE",
];
const MODULES = ["VIRTIO_PMEM", "BLK_DEV_PMEM", "EROFS_FS", "OVERLAY_FS"];
const config = (without?: string) =>
  [...BUILT_IN.map((option) => `CONFIG_${option}=y`), ...MODULES.map((option) => `CONFIG_${option}=m`)]
    .map((line) =>
      without !== undefined && line.startsWith(`CONFIG_${without}=`) ? `# CONFIG_${without} is not set` : line,
    )
    .join("\n");

test("a kernel is found with its modules and its configuration", () => {
  const kernel = findKernel({ kernel: install("whole", config()) });
  assert.equal(kernel.version, "6.1.0-test");
  assert.equal(kernel.modulesDir, join(folder, "whole/lib/modules/6.1.0-test"));
  assert.equal(kernel.configPath, join(folder, "whole/boot/config-6.1.0-test"));
  assert.equal(requireKernel(kernel, NEEDS).length, 8);
  assert.equal(findKernel({}, { EROFSIFY_KERNEL: kernel.imagePath }).imagePath, kernel.imagePath);
});

for (const option of [...BUILT_IN, ...MODULES])
  test(`a kernel without ${option} is refused by that name`, () => {
    const kernel = findKernel({ kernel: install(`without-${option}`, config(option)) });
    assert.throws(
      () => requireKernel(kernel, NEEDS),
      (error: unknown) =>
        error instanceof VmError &&
        error.code === "ERR_KERNEL_OPTION" &&
        error.message.includes(`lacks CONFIG_${option} (`) &&
        !error.message.includes(", CONFIG_"),
    );
  });

test("without a configuration the modules tell", () => {
  const lists = { ...LISTS, dep: LISTS.dep.replace(/^.*erofs.ko.xz:$/m, "") };
  const kernel = findKernel({ kernel: install("no-config", undefined, lists) });
  assert.throws(() => requireKernel(kernel, NEEDS), /lacks CONFIG_EROFS_FS \(the image\)/);
});

test("a module that the configuration has and the folder has not is told as such", () => {
  const lists = { ...LISTS, dep: LISTS.dep.replace(/^.*overlay.ko.xz:$/m, "") };
  const kernel = findKernel({ kernel: install("no-module", config(), lists) });
  assert.throws(() => requireKernel(kernel, NEEDS), /CONFIG_OVERLAY_FS .*its module overlay is not in .*6\.1\.0-test/);
  assert.equal(requireKernel(kernel, { ...NEEDS, overlay: false }).length, 7);
});

test("a scratch disk needs more of the kernel", () => {
  const kernel = findKernel({ kernel: install("scratch", config()) });
  assert.throws(() => requireKernel(kernel, { ...NEEDS, scratch: true }), /CONFIG_VIRTIO_BLK .*CONFIG_EXT4_FS/);
});

test("no kernel, a file that is none, and a folder without modules are told", () => {
  const noKernel = (error: unknown) => error instanceof VmError && error.code === "ERR_NO_KERNEL";
  assert.throws(() => findKernel({ kernel: join(folder, "absent") }), noKernel);
  const text = join(folder, "text");
  writeFileSync(text, "no kernel");
  assert.throws(() => findKernel({ kernel: text }), noKernel);
  assert.throws(() => findKernel({ kernel: install("modules", config()), modules: folder }), noKernel);
});
