/** QEMU's command line for a guest. */
import { type Channels, KERNEL_ARGUMENTS, type Machine, memoryMib } from "./machine.ts";
import { type PlacedFile, placesBytes, pmemPlaces } from "./memory-places.ts";

/** `kvm` runs the guest on the processor, `tcg` emulates it, `kvm:tcg` lets QEMU choose by whether /dev/kvm opens. */
export type Accelerator = "kvm" | "tcg" | "kvm:tcg";

/** The first of the PCI slots that are the guest's own; slot 0 is the host bridge, 31 the ISA bridge. */
const SERIAL_SLOT = 1;
const SCRATCH_SLOT = 2;
const PMEM_SLOT = 3;
/** PCI functions a slot. */
const FUNCTIONS = 8;
/** Room for the alignment of memory devices, in MiB. */
const SPARE_MIB = 1024;

/**
 * Arguments of qemu-system-x86_64. Every image file is `share=on,readonly=on`: mapped from the page cache that all guests
 * share, and not writable by the guest whatever it does.
 */
export function qemuArgs(machine: Machine, accelerator: Accelerator): string[] {
  const memory = memoryMib(machine);
  const pmemMib = placesBytes(machine.pmem) / 2 ** 20;
  const places = pmemPlaces(machine);
  return [
    ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
    ...["-machine", `q35,accel=${accelerator}`, "-cpu", "max"],
    ...["-smp", String(machine.cpus), "-m", `${memory}M,maxmem=${memory + pmemMib + SPARE_MIB}M`],
    ...["-kernel", machine.kernelPath, "-initrd", machine.initrdPath],
    ...["-append", [consoleArgument(machine), ...KERNEL_ARGUMENTS].join(" ")],
    ...consoleArgs(machine),
    ...(machine.scratchPath === undefined ? [] : scratchArgs(machine.scratchPath)),
    ...machine.pmem.flatMap(({ sizeBytes }, index) => pmemArgs(places[index]!, sizeBytes, index)),
  ];
}

function consoleArgument({ console }: Machine): string {
  return console.kind === "serial" ? "console=hvc0" : "console=ttyS0";
}

function consoleArgs({ console }: Machine): string[] {
  const bus = ["-device", `virtio-serial-pci,addr=${address(SERIAL_SLOT, 0)},max_ports=8`];
  if (console.kind === "serial")
    return [...bus, "-chardev", "stdio,id=tty,signal=off", "-device", "virtconsole,chardev=tty"];
  return [
    ...socket("log", console.log),
    ...["-device", "isa-serial,chardev=log"],
    ...bus,
    ...commandArgs(console.command),
    ...port("control", console.control, 2),
  ];
}

function commandArgs(command: Channels["command"]): string[] {
  // The first port is the one that may be a console.
  if (command.kind === "tty") return [...socket("tty", command.tty), "-device", "virtconsole,chardev=tty,nr=1"];
  return [
    ...port("out", command.output, 3),
    ...port("err", command.errors, 4),
    ...(command.input === undefined ? [] : port("in", command.input, 5)),
  ];
}

/** A port that the guest finds by name, on an inherited socket. */
function port(name: string, fd: number, number: number): string[] {
  return [...socket(name, fd), "-device", `virtserialport,chardev=${name},name=erofsify.${name},nr=${number}`];
}

function socket(id: string, fd: number): string[] {
  return ["-chardev", `socket,id=${id},fd=${fd}`];
}

/** `cache=unsafe`: nobody reads the scratch disk after its guest. */
function scratchArgs(path: string): string[] {
  return [
    "-drive",
    `if=none,id=scratch,format=raw,cache=unsafe,discard=unmap,file=${escapeCommas(path)}`,
    "-device",
    `virtio-blk-pci,addr=${address(SCRATCH_SLOT, 0)},drive=scratch`,
  ];
}

/** Functions of one slot share it, so that many devices fit the 32 slots of the bus. Bus order is the image's order. */
function pmemArgs({ path, guestAddress }: PlacedFile, sizeBytes: number, index: number): string[] {
  const addr = address(PMEM_SLOT + Math.floor(index / FUNCTIONS), index % FUNCTIONS);
  return [
    "-object",
    `memory-backend-file,id=mem${index},mem-path=${escapeCommas(path)},size=${sizeBytes},share=on,readonly=on`,
    "-device",
    `virtio-pmem-pci,memdev=mem${index},memaddr=0x${guestAddress.toString(16)},addr=${addr},multifunction=on`,
  ];
}

function address(slot: number, fn: number): string {
  return `0x${slot.toString(16)}.${fn}`;
}

/** In QEMU's option lists a comma in a value is written twice. */
function escapeCommas(path: string): string {
  return path.replaceAll(",", ",,");
}
