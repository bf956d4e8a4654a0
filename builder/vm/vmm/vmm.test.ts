import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  cloudHypervisorArgs,
  firecrackerConfig,
  formatCommand,
  guestMemoryOptions,
  type Machine,
  pmemPlaces,
  qemuArgs,
} from "./index.ts";

// The golden files are command lines as a user would paste them. UPDATE_GOLDENS=1 writes them anew.

/** In the source tree: this file is dist/builder/vm/vmm/vmm.test.js when it runs. */
const golden = (name: string) => fileURLToPath(new URL(`../../../../builder/vm/vmm/goldens/${name}`, import.meta.url));

function assertGolden(name: string, found: string): void {
  if (process.env.UPDATE_GOLDENS) writeFileSync(golden(name), found);
  assert.equal(found, readFileSync(golden(name), "utf8"));
}

const machine: Machine = {
  memoryBytes: (1 << 30) - 1,
  cpus: 2,
  kernelPath: "/boot/vmlinuz",
  initrdPath: "/cache/initrd",
  pmem: [
    { path: "/store/meta", sizeBytes: 2 << 20 },
    { path: "/store/with, comma's", sizeBytes: 4 << 20 },
  ],
  scratchPath: "/cache/scratch,disk",
  console: { kind: "serial" },
};
const channels = { kind: "channels", log: 3, control: 4 } as const;

test("QEMU, console on the terminal", () => {
  assertGolden("qemu.txt", formatCommand("qemu-system-x86_64", qemuArgs(machine, "kvm:tcg")));
});

test("QEMU with a terminal for the command", () => {
  const console = { ...channels, command: { kind: "tty", tty: 5 } } as const;
  const { scratchPath: _, ...rest } = machine;
  assertGolden("qemu-tty.txt", formatCommand("qemu-system-x86_64", qemuArgs({ ...rest, console }, "kvm")));
});

test("QEMU with pipes for the command", () => {
  const console = { ...channels, command: { kind: "pipes", output: 5, errors: 6, input: 7 } } as const;
  assertGolden("qemu-pipes.txt", formatCommand("qemu-system-x86_64", qemuArgs({ ...machine, console }, "tcg")));
});

test("without input there is no port for it", () => {
  const console = { ...channels, command: { kind: "pipes", output: 5, errors: 6 } } as const;
  assert.ok(!qemuArgs({ ...machine, console }, "tcg").some((arg) => arg.includes("erofsify.in")));
});

test("many devices share slots, in the order of the image, and none gets the slots at the end", () => {
  const pmem = Array.from({ length: 128 }, () => ({ path: "/x", sizeBytes: 2 << 20 }));
  const found = qemuArgs({ ...machine, pmem }, "tcg").filter((arg) => arg.startsWith("virtio-pmem-pci"));
  const addresses = found.map((arg) => /addr=0x([0-9a-f]+)\.(\d)/.exec(arg)!);
  const order = addresses.map(([, slot, fn]) => Number.parseInt(slot!, 16) * 8 + Number(fn));
  assert.deepEqual(
    order,
    Array.from({ length: 128 }, (_, i) => 3 * 8 + i),
  );
  assert.ok(order.at(-1)! < 31 * 8);
});

test("every image file is read-only and shared", () => {
  const backends = qemuArgs(machine, "kvm").filter((arg) => arg.startsWith("memory-backend-file"));
  assert.equal(backends.length, machine.pmem.length);
  for (const backend of backends) assert.match(backend, /,share=on,readonly=on$/);
});

test("image files lie one behind the other, from the GiB behind a q35 machine's memory on", () => {
  const GIB = 1 << 30;
  const firstOf = (memoryBytes: number) => pmemPlaces({ memoryBytes, pmem: machine.pmem })[0]!.guestAddress / GIB;
  // Seen in guests' /proc/iomem: 512 MiB, 2560 MiB, 2816 MiB, 3500 MiB.
  const found = [512, 2560, 2816, 3500].map((mib) => firstOf(mib * 2 ** 20));
  assert.deepEqual(found, [4, 4, 5, 6]);
  const places = pmemPlaces(machine);
  assert.deepEqual(
    places.map(({ guestAddress }) => guestAddress),
    [4 * GIB, 4 * GIB + (2 << 20)],
  );
  assert.deepEqual(guestMemoryOptions(places), [
    ...["--guest-memory", "0x100000000=/store/meta"],
    ...["--guest-memory", "0x100200000=/store/with, comma's"],
  ]);
});

test("Cloud Hypervisor", () => {
  assertGolden("cloud-hypervisor.txt", formatCommand("cloud-hypervisor", cloudHypervisorArgs(machine)));
});

test("Firecracker", () => {
  const text = firecrackerConfig(machine);
  assertGolden("firecracker.txt", text);
  const config = JSON.parse(text) as { pmem: { read_only: boolean; root_device: boolean }[] };
  assert.ok(config.pmem.every(({ read_only, root_device }) => read_only && !root_device));
});
