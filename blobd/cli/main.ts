#!/usr/bin/env node
/** The `blobd` command. Each subcommand lives in commands/ and is loaded when it is used. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Command, Option } from "commander";
import { exitCodeOf, reportError } from "./exit.ts";
import { LOG_LEVELS } from "./logger.ts";
import { addPassthroughOptions, CACHE_HELP } from "./passthrough-options.ts";

const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const program = new Command("blobd")
  .description("Serves files to guests and to this host.")
  .version(version)
  .exitOverride()
  .configureOutput({
    outputError: (text, write) =>
      write(
        `blobd: ${text
          .trim()
          .replace(/^error: /, "")
          .replaceAll("\n", " ")} (try blobd --help)\n`,
      ),
  })
  .addHelpText("after", () => EXAMPLES);

const EXAMPLES = `
Examples
  blobd passthrough /srv/volume /mnt             a directory, served on this host
  blobd passthrough --read-only --cache always /usr/share/doc /mnt
  blobd virtiofs --socket-path /run/volume.sock --shared-dir /srv/volume --tag volume     the same for a guest
  blobd snapshotter --metrics 127.0.0.1:9180     containerd's images, from EROFS

Exit status: 0 done, 1 failed, 2 wrong usage.`;

const logOption = () =>
  new Option("--log-level <level>", "what is logged, as JSON lines on stderr").choices(LOG_LEVELS).default("info");

const storeOption = () =>
  new Option("--store <dir>", "store of converted images (default: as for erofsify)").env("EROFSIFY_STORE");

const jsonOption = () => new Option("--json", "print the result as JSON on stdout");

const collect = (value: string, before: readonly string[]) => [...before, value];

addPassthroughOptions(
  program
    .command("passthrough")
    .description("serve a directory of this host on this host, through /dev/fuse, until it is unmounted")
    .argument("<source>", "the directory that is served")
    .argument("<mountpoint>", "where")
    .option("--threads <n>", "threads that serve it", String(Math.min(4, Math.max(2, availableParallelism()))))
    .option("--allow-other", "other users may use it (default for root)")
    .option("--no-allow-other", "only the user who mounts it")
    .option("--allow-devices", "device nodes work (root only)")
    .option("--allow-suid", "set-user-ID programs work (root only)"),
)
  .addOption(logOption())
  .option("--json", "say when it is mounted as JSON on stdout")
  .addHelpText(
    "after",
    `${CACHE_HELP}

Examples
  blobd passthrough /srv/volume /mnt &             umount /mnt ends it
  blobd passthrough --uid-map 0:100000:65536 --gid-map 0:100000:65536 /srv/volume /mnt

SIGINT and SIGTERM unmount it; while it is in use it is detached first, and a second signal aborts it. Without root it needs
fusermount3 (package fuse3).`,
  )
  .action(async (source, mountPoint, options) =>
    (await import("./commands/passthrough.ts")).run(source, mountPoint, options),
  );

program
  .command("imagefs")
  .description("show the files of an image on this host, through /dev/fuse, from its metadata and blobs")
  .argument("<image>", "an image of the store, a folder written by erofsify -o, or an EROFS file")
  .argument("<mountpoint>", "where")
  .addOption(storeOption())
  .option("--blob-folder <dir>", "where blobs are looked for by their digests; repeatable", collect, [])
  .option("--threads <n>", "threads that serve it", String(Math.min(4, Math.max(2, availableParallelism()))))
  .option("--allow-other", "other users may use it (default for root)")
  .option("--no-allow-other", "only the user who mounts it")
  .option("--allow-devices", "device nodes work (root only)")
  .option("--allow-suid", "set-user-ID programs work (root only)")
  .addOption(logOption())
  .option("--json", "say when it is mounted as JSON on stdout")
  .addHelpText(
    "after",
    `
Examples
  blobd imagefs alpine /mnt &        umount /mnt ends it
  blobd imagefs ./out /mnt           what erofsify -o ./out has written

Where Linux may mount EROFS, \`erofsify mount\` is faster; this is for hosts without it, and for users without root (with
fusermount3). It is what a guest gets by \`blobd virtiofs --image\`.`,
  )
  .action(async (image, mountPoint, options) =>
    (await import("./commands/imagefs.ts")).run(image, mountPoint, options),
  );

addPassthroughOptions(
  program
    .command("virtiofs")
    .description(
      "serve a directory of this host, or an image, to one guest, as a vhost-user device of its VMM, until it is stopped",
    )
    .requiredOption("--socket-path <path>", "the Unix socket to which the VMM connects")
    .option("--shared-dir <directory>", "the directory that is served")
    .option("--image <image>", "instead: the files of an image; as for blobd imagefs")
    .option("--blobs <image>", "instead: image.erofs and blobs of an image, for a guest that mounts EROFS itself")
    .option(
      "--mount <path=kind:source>",
      "instead: several of these, each at a path: dir:, image: or blobs:; repeatable",
      collect,
      [],
    )
    .addOption(storeOption())
    .option("--blob-folder <dir>", "where an image's blobs are looked for by their digests; repeatable", collect, [])
    .requiredOption("--tag <tag>", "by this name the guest mounts it: 1 to 36 bytes")
    .option("--queues <n>", "request queues, each with a thread of its own", "1")
    .addOption(
      new Option("--dax <mode>", "which files the guest maps from the host's page cache; see below")
        .choices(["never", "inode", "always"])
        .default("inode"),
    )
    .option("--dax-window <size>", "guest memory into which files are mapped, a multiple of 2M", "1G")
    .option("--dax-threshold <size>", "with --dax inode: from this size on files are mapped (default: 64K)")
    .option(
      "--dax-read-only-trusted",
      "maps a --read-only directory or an image too, though the guest can write what is mapped",
    )
    .option(
      "--guest-memory <address=file>",
      "the guest has this file as memory at this address (virtio-pmem); repeatable, see `erofsify vmm-args --guest-memory`",
      collect,
      [],
    )
    .option("--connect", "connect to the socket, on which the VMM listens")
    .option("--supervised", "the work is done by a second process; when that dies, another one takes over")
    .option("--no-standby", "with --supervised: no process is kept ready to take over")
    .option("--print-qemu", "print QEMU's options for this device, and end"),
)
  .addOption(logOption())
  .option("--json", "say that it serves as JSON on stdout")
  .addHelpText(
    "after",
    `${CACHE_HELP}

--dax
  never      nothing is mapped; QEMU's own vhost-user-fs-pci will do
  inode      files of --dax-threshold and more; the guest mounts with -o dax=inode
  always     every file; the guest mounts with -o dax=always

Examples
  blobd virtiofs --socket-path /run/volume.sock --shared-dir /srv/volume --tag volume
  blobd virtiofs --socket-path /run/volume.sock --shared-dir /srv/volume --tag volume --print-qemu
  blobd virtiofs --socket-path /run/image.sock --image alpine --tag image     the guest mounts it with -o ro
  blobd virtiofs --socket-path /run/pod.sock --mount /image=image:alpine --mount /data=dir:/srv/data --tag pod`,
  )
  .action(async (options) => (await import("./commands/virtiofs.ts")).run(options));

const pmemFiles = (command: Command) =>
  command
    .option(
      "--image <image>",
      "an image of the store, a folder written by erofsify -o, or an EROFS file: all its files",
    )
    .option("--file <file>", "instead: a file, such as a blob; repeatable", collect, [])
    .addOption(storeOption())
    .option("--blob-folder <dir>", "where an image's blobs are looked for by their digests; repeatable", collect, [])
    .addOption(jsonOption());

pmemFiles(
  program
    .command("pmem")
    .description(
      "give files of this host to one guest as its memory: a virtio-pmem device of its VMM, until it is stopped",
    )
    .requiredOption("--socket-path <path>", "the Unix socket to which the VMM connects")
    .option("--control <socket>", "where blobd pmem-add adds files while the guest runs")
    .option("--window <size>", "size of the device, a multiple of 2M (default: what the files need)")
    .option("--guest-writes-files", "map the files themselves, which the guest can write to; not for files of a store")
    .option("--guest-writes-store", "the same, also for files of a store that others use")
    .option("--print-qemu", "print QEMU's options for this device, and end"),
)
  .addOption(logOption())
  .addHelpText(
    "after",
    `
QEMU 11.1 maps what it is given for writing. So the guest gets pages of its own, read from the files as it touches them, unless
it is said that it may write to the files: then its memory is the host's page cache, shared with all others. What a guest has
written to a store's blobs is found by \`blobd store verify\`. Guests that are not to be trusted, and VMMs that can, have
virtio-pmem devices that are read-only for sure: \`erofsify run\`, \`erofsify vmm-args\`.

Examples
  blobd pmem --socket-path /run/pmem.sock --image alpine       the guest: mount -t erofs -o ro,dax=always /dev/pmem0 /mnt
  blobd pmem --socket-path /run/pmem.sock --image alpine --window 4G --control /run/pmem.control`,
  )
  .action(async (options) => (await import("./commands/pmem.ts")).run(options));

pmemFiles(
  program
    .command("pmem-add")
    .description("add files to a blobd pmem whose guest runs; says where in the device they lie")
    .requiredOption("--control <socket>", "of that blobd pmem"),
)
  .addHelpText(
    "after",
    `
The guest makes an image's range a device of its own by addpart, and mounts that: docs/pmem.md.`,
  )
  .action(async (options) => (await import("./commands/pmem.ts")).add(options));

program
  .command("snapshotter")
  .description("serve containerd as snapshotter and differ: images run from EROFS, unpacked nowhere (root)")
  .option("--address <socket>", "Unix socket that containerd calls", "/run/blobd/snapshotter.sock")
  .option("--containerd <socket>", "containerd's own socket", "/run/containerd/containerd.sock")
  .addOption(
    new Option("--store <dir>", "store of the converted layers (default: as for erofsify)").env("EROFSIFY_STORE"),
  )
  .option("--root <dir>", "its own folder: what containers write, mounts, state", "/var/lib/blobd/snapshotter")
  .option("--metrics <host:port>", "serve Prometheus metrics at http://host:port/metrics")
  .option("--max-layer-size <size>", "refuse a layer that takes more than this on the disk, such as 20GiB")
  .option("--kubeconfig <file>", "use the pull secrets of this cluster for registries")
  .addOption(
    new Option("--vm <form>", "hand images to runtimes that start VMs, instead of runc").choices([
      "erofs",
      "pmem",
      "block",
    ]),
  )
  .addOption(
    new Option(
      "--layered",
      "hand each layer to containerd as a mount of its own, for its mount manager (2.2), instead of one of ours for the image",
    ).conflicts("vm"),
  )
  .option("--no-on-demand", "pull all images, also those whose converted form is in the registry")
  .option(
    "--trust-referrers",
    "take what is attached to an image also when containerd tells its digest only, as ctr's pulls do",
  )
  .addOption(new Option("--erofsify <file>", "the program that converts (default: of the same build)").hideHelp())
  .addOption(logOption())
  .addHelpText(
    "after",
    `
containerd is told of it by two proxy plugins; docs/containerd.md and samples/containerd have the configuration.
Stopping and starting it, also by force, leaves running containers alone.`,
  )
  .action(async (options) => (await import("./commands/snapshotter.ts")).run(options));

program
  .command("serve")
  .description("serve a store's blobs to this host on demand: what is read of them is fetched, verified and kept")
  .addOption(storeOption())
  .option("--mount <dir>", "where blobs that are not complete are shown (default: serve in the store)")
  .option("--socket <file>", "where clients ask for blobs (default: blobd.sock in the store)")
  .option("--idle <seconds>", "end when nobody has used it for so long (default: never)")
  .option("--max-size <size>", "keep the store this small: blobs go by last use, never one in use")
  .option("--metrics <host:port>", "serve Prometheus metrics at http://host:port/metrics")
  .option("--give-up <seconds>", "a read fails when nothing has come for so long (default: 30)")
  .option("--bandwidth <size>", "most bytes per second from one registry (default: no limit)")
  .option("--connections <n>", "transfers from one registry at a time (default: 6)")
  .option("--read-ahead <size>", "how far ahead of a sequential reader to fetch (default: 8M)")
  .option("--no-supervised", "in one process: when it dies, who uses its files gets errors, and loses them")
  .addOption(new Option("--held").hideHelp())
  .addOption(logOption())
  .addHelpText(
    "after",
    `
It says in a line of JSON on stdout when it serves. \`erofsify run --lazy\` starts one by itself when none runs for its store.
A small process holds the mount, a second one does the work: when that dies, another one takes over, and who uses the files waits
meanwhile (Linux 6.9). SIGINT and SIGTERM to the first end both; guests that use the files then lose them.`,
  )
  .action(async (options) => (await import("./commands/serve.ts")).run(options));

program
  .command("trace")
  .description("record in which order clients of a running blobd serve read its blobs, until SIGINT or SIGTERM")
  .option("-o, --output <file>", "where the list goes (default: stdout)")
  .option("--seconds <n>", "end after so long")
  .addOption(storeOption())
  .option("--socket <file>", "where blobd serve listens (default: blobd.sock in the store)")
  .addHelpText(
    "after",
    `
It is of the clients that come after it: guests that run already are not recorded. The list is for erofsify push --prefetch.
One guest alone is recorded by erofsify run --lazy --record FILE.`,
  )
  .action(async (options) => (await import("./commands/trace.ts")).run(options));

const store = program.command("store").description("look into the local store of blobs, check it, make it smaller");
store
  .command("ls")
  .description("all blobs, and how much of each is there")
  .addOption(jsonOption())
  .addOption(storeOption())
  .action(async (options) => (await import("./commands/store.ts")).list(options));
store
  .command("verify")
  .description("read everything and compare it with its digests; what is damaged is given up, to be fetched again")
  .addOption(jsonOption())
  .addOption(storeOption())
  .action(async (options) => (await import("./commands/store.ts")).verify(options));
store
  .command("prune")
  .description("remove blobs, least recently used first, never one in use, until the store is small enough")
  .requiredOption("--max-size <size>", "such as 50G")
  .addOption(jsonOption())
  .addOption(storeOption())
  .action(async (options) => (await import("./commands/store.ts")).prune(options));

try {
  await program.parseAsync();
} catch (error) {
  reportError(error);
  process.exitCode = exitCodeOf(error);
}
process.exit();
