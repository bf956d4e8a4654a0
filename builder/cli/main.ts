#!/usr/bin/env -S UV_THREADPOOL_SIZE=16 node --min-semi-space-size=16 --max-semi-space-size=32
/**
 * The `erofsify` command. Each subcommand lives in commands/ and is loaded when it is used. The first line's settings cannot
 * be made later: each layer in work keeps up to three pool threads busy, and Node has four; and with a young generation
 * of 16 MiB from the start, a conversion takes a tenth less processor time.
 */
import { readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { exitCodeOf, reportError } from "./exit.ts";
import { registerJob } from "./job-commands.ts";
import { registerOptimize } from "./optimize-command.ts";
import { registerPush } from "./push-command.ts";
import { endQuietly } from "./ui/output.ts";

const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const IMAGE_HELP = `
IMAGE is one of
  REFERENCE             an image converted before, by its name: alpine, host:5000/a/b:tag
  DIR                   what \`erofsify convert -o DIR\` wrote
  FILE                  an EROFS image: what \`--single FILE\` wrote, or any uncompressed one`;

const program = new Command("erofsify")
  .description("Turns OCI images into EROFS: chunk-aligned blobs that are mounted as they are, never unpacked.")
  .version(version)
  .exitOverride()
  .configureOutput({
    outputError: (text, write) =>
      write(
        `erofsify: ${text
          .trim()
          .replace(/^error: /, "")
          .replaceAll("\n", " ")} (try erofsify --help)\n`,
      ),
  })
  .addHelpText("after", () => EXAMPLES);

const EXAMPLES = `
Examples
  erofsify alpine                                  convert an image into the local store
  erofsify ghcr.io/org/app:1.2 --single app.erofs  one file that any Linux from 5.16 on mounts
  erofsify mount alpine /mnt                       mount it; erofsify umount /mnt takes it down
  erofsify run alpine                              run it in a microVM
  erofsify dump alpine | less                      the whole tree as text

Exit status: 0 done, 1 failed, 2 wrong usage, 3 source not reached, not found or not allowed, 4 bad input or failed
check, 5 store or disk, 130 interrupted.`;

const storeOption = () => new Option("--store <dir>", "the local store").env("EROFSIFY_STORE");
const jsonOption = () => new Option("--json", "print the result as JSON on stdout");
const fromSourceOption = () =>
  new Option("--from-source", "convert the source itself, also when the registry has a converted form of it");
const trustReferrersOption = () =>
  new Option("--trust-referrers", "use a converted form that is attached to the image also when it is named by digest");
/** Of an option that may be given several times. */
const collect = (value: string, before: string[] | undefined) => [...(before ?? []), value];
const deviceOption = () =>
  new Option(
    "--device <file>",
    "a blob of the image, in the order of its device table (found beside a DIR by itself)",
  ).argParser(collect);
const dictOption = () =>
  new Option(
    "--dict <image>",
    "do not store again what this image of the store holds (may be given several times)",
  ).argParser(collect);

program
  .command("convert", { isDefault: true })
  .description("convert an image (also without the word convert)")
  .argument("<image-ref>", "REFERENCE, oci:DIR[:tag], oci-archive:FILE, docker-archive:FILE, tar:FILE or dir:PATH")
  .option("-o, --output <dir>", "export image.erofs (the merged metadata) and blobs/sha256/… into this folder")
  .option("--single <file>", "write one flat file that any Linux from 5.16 on mounts")
  .option("--platform <os/arch>", "which image of a multi-platform one, such as linux/arm64 (default: this machine's)")
  .option("--jobs <n>", "layers converted at once (default: one a processor, at least 2)")
  .addOption(new Option("--threads <n>", "threads that they share (default: one per two processors)").hideHelp())
  .option("--inline-tails", "small files live in the metadata: smaller, but those files are not served by DAX")
  .option("--verity", "put dm-verity hash trees behind blobs and metadata; see docs/verity.md")
  .addOption(dictOption())
  .option("--max-layer-size <size>", "refuse a layer that takes more than this on the disk, such as 20GiB")
  .option("--push", "send the result to a registry, as `erofsify push` does")
  .option("--to <ref>", "of --push: where to")
  .option("--as <form>", "of --push: tag, index or referrer")
  .addOption(fromSourceOption())
  .addOption(trustReferrersOption())
  .option("--plain-http", "talk HTTP without TLS to the registry (automatic for localhost)")
  .option("-q, --quiet", "no progress; errors only")
  .addOption(jsonOption())
  .addOption(storeOption())
  .addHelpText(
    "after",
    `
Examples
  erofsify debian:bookworm-slim
  erofsify convert oci:./layout:latest -o ./out
  erofsify --single rootfs.erofs docker-archive:saved.tar
  erofsify --json --quiet localhost:5000/app | jq .meta`,
  )
  .action(async (ref, options) => (await import("./commands/convert.ts")).run(ref, options));

program
  .command("inspect")
  .description("superblock, device table, statistics, and what deduplication saved by layer")
  .argument("<image>")
  .addOption(jsonOption())
  .addOption(deviceOption())
  .addOption(storeOption())
  .addHelpText("after", IMAGE_HELP)
  .action(async (image, options) => (await import("./commands/inspect.ts")).run(image, options));

program
  .command("ls")
  .description("list a directory of an image")
  .argument("<image>")
  .argument("[path]", "directory or file", "/")
  .option("-l, --long", "type, mode, owner, size, time and link target")
  .option("-R, --recursive", "and everything below it")
  .addOption(storeOption())
  .addHelpText("after", IMAGE_HELP)
  .action(async (image, path, options) => (await import("./commands/ls.ts")).run(image, path, options));

program
  .command("cat")
  .description("write a file of an image to stdout")
  .argument("<image>")
  .argument("<path>")
  .addOption(deviceOption())
  .addOption(storeOption())
  .addHelpText("after", IMAGE_HELP)
  .action(async (image, path, options) => (await import("./commands/cat.ts")).run(image, path, options));

program
  .command("dump")
  .description("the whole tree as text, one line a path, always in the same order")
  .argument("<image>")
  .option("--extents", "with where each file's data lies")
  .addOption(storeOption())
  .addHelpText("after", IMAGE_HELP)
  .action(async (image, options) => (await import("./commands/dump.ts")).run(image, options));

program
  .command("check")
  .description("verify an image: structure, bounds, checksums, and the digests of its blobs")
  .argument("<image>")
  .option("--no-digests", "structure only, without reading the blobs")
  .addOption(jsonOption())
  .addOption(deviceOption())
  .addOption(storeOption())
  .addHelpText("after", IMAGE_HELP)
  .action(async (image, options) => (await import("./commands/check.ts")).run(image, options));

program
  .command("mount")
  .description("mount an image read-only, with its blobs as devices (needs root)")
  .argument("<image>")
  .argument("<dir>")
  .option("--verity", "through dm-verity: every block is checked when it is read; see docs/verity.md")
  .addOption(deviceOption())
  .addOption(storeOption())
  .addHelpText("after", IMAGE_HELP)
  .action(async (image, dir, options) => (await import("./commands/mount.ts")).mount(image, dir, options));

program
  .command("umount")
  .description("undo a mount")
  .argument("<dir>")
  .action(async (dir) => (await import("./commands/mount.ts")).umount(dir));

const guestOptions = (command: Command) =>
  command
    .option("--memory <size>", "the guest's memory, such as 512MiB (default: 1 GiB, more for very large images)")
    .option("--cpus <n>", "its processors (default: 2)")
    .option("--kernel <file>", "its kernel (default: $EROFSIFY_KERNEL, else the host's own or newest one)")
    .option("--modules <dir>", "the kernel's lib/modules/VERSION (default: found from where the kernel is)")
    .option("--initrd <file>", "base initramfs instead of the one made here; see docs/running.md")
    .option("--rw-size <size>", "what the guest writes goes to a scratch disk of this size, not to its memory")
    .option("--read-only", "no overlay: the image itself is the root, with memory for /tmp and /run")
    .option("--verity", "the guest's kernel checks every block it reads (dm-verity), without DAX")
    .option("--verify", "read the image in full and compare digests first (default: what may have changed)")
    .option("--lazy", "start before the image is here: a pushed image, of which what is read is fetched")
    .option("--pull", "ask the source even when the store has an image of this name")
    .addOption(fromSourceOption())
    .addOption(trustReferrersOption())
    .option("--platform <os/arch>", "which image of a multi-platform one")
    .option("--plain-http", "talk HTTP without TLS to the registry (automatic for localhost)")
    .option("-q, --quiet", "no progress; errors only")
    .addOption(storeOption());

guestOptions(
  program
    .command("run")
    .description("run an image in a microVM: its files are mapped from the host's page cache, never copied")
    .argument("<image>", "REFERENCE, DIR or FILE; converted first when the store does not have it")
    .argument("[args...]", "replace the image's Cmd; write them behind --"),
)
  .option("--qemu <file>", "the VMM (default: $EROFSIFY_QEMU, else qemu-system-x86_64 in PATH)")
  .option("--accel <name>", "kvm, tcg (emulation), or auto: KVM where a guest really runs by it")
  .option("--no-tty", "pipes, even on a terminal")
  .option("--timeout <seconds>", "end the guest after this time; the status is 124 then")
  .option("--record <file>", "with --lazy: write what the guest reads first to a list, for push --prefetch")
  .option("--timings", "tell on stderr where the time to the first output went")
  .option("--print", "print QEMU's command instead of running it")
  .addHelpText(
    "after",
    `
Examples
  erofsify run alpine                                  the image's own command
  erofsify run alpine -- sh -c 'grep erofs /proc/1/mounts'
  tar c . | erofsify run alpine -- tar t               standard input and output are the command's
  erofsify run --memory 256MiB --rw-size 10GiB build -- make -j2
  erofsify run --print alpine                          the command to start it by hand

Exit status: the command's own; 128 + n when signal n ended it; 124 after --timeout; 125 when it could not be started,
126 when it cannot be executed, 127 when it is not in the image.`,
  )
  .action(async (image, args, options) => (await import("./commands/run.ts")).run(image, args, options));

guestOptions(
  program
    .command("vmm-args")
    .description("print how a VMM is started by hand with an image: same devices as run, console on the terminal")
    .argument("<image>", "as for run")
    .argument("[args...]", "replace the image's Cmd; write them behind --"),
)
  .requiredOption("--vmm <name>", "qemu, cloud-hypervisor (both: a command line) or firecracker (a configuration file)")
  .option("--guest-memory", "print instead what `blobd virtiofs` is told for a volume of this QEMU guest")
  .addHelpText(
    "after",
    `
Examples
  erofsify vmm-args --vmm cloud-hypervisor alpine
  erofsify vmm-args --vmm firecracker --kernel vmlinux --modules /lib/modules/6.1.0 alpine > vm.json &&
    firecracker --no-api --config-file vm.json`,
  )
  .action(async (image, args, options) => (await import("./commands/vmm-args.ts")).run(image, args, options));

registerPush(program, { jsonOption, storeOption, dictOption });
registerOptimize(program, jsonOption, storeOption);

program
  .command("lease")
  .description("hold a pushed image as a folder, as -o writes it, whose blobs are fetched as they are read")
  .argument("<image-ref>", "REFERENCE of a pushed image")
  .argument("<folder>", "where image.erofs and blobs are links until the command is interrupted")
  .addOption(trustReferrersOption())
  .option("--platform <os/arch>", "which image of a multi-platform one")
  .option("--plain-http", "talk HTTP without TLS to the registry (automatic for localhost)")
  .addOption(storeOption())
  .addHelpText(
    "after",
    `
Examples
  erofsify lease registry.lan/alpine:erofs /run/alpine &
  blobd virtiofs --socket-path /run/image.sock --image /run/alpine --tag image     its files in a guest, before they are here`,
  )
  .action(async (ref, folder, options) => (await import("./commands/lease.ts")).run(ref, folder, options));

program
  .command("prune")
  .description("remove what no image of the store needs, and the least recently used images over a limit")
  .option("--max-size <size>", "remove images, least recently used first, until the store is no larger, such as 50GiB")
  .option("--dry-run", "say what would go, and remove nothing")
  .addOption(jsonOption())
  .addOption(storeOption())
  .action(async (options) => (await import("./commands/prune.ts")).run(options));

program
  .command("converter", { hidden: true })
  .description("do a daemon's conversions; started by blobd")
  .action(async () => (await import("../converter/index.ts")).runConverter());

registerJob(program, version, storeOption);

endQuietly();
try {
  await program.parseAsync();
} catch (error) {
  reportError(error);
  process.exitCode = exitCodeOf(error);
}
// Connections kept alive for another request would hold the process for a while. Output to files and pipes is written.
process.exit();
