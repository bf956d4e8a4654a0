import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, startServer } from "../../builder/testkit/index.ts";
import type { Command } from "../kit/index.ts";

/** How containerd keeps images: `overlayfs` unpacks layers to directories, `erofs` turns each into an EROFS image. */
export type Snapshotter = "overlayfs" | "erofs";

/** The lab's containerd 2.1 with a state of its own. */
export interface Containerd {
  /** The daemon's process. */
  readonly pid: number;
  /** The command that pulls an image from a registry over plain HTTP and unpacks it. */
  pullCommand(reference: string, snapshotter: Snapshotter): Command;
  /** The command that prints the client's version. */
  readonly versionCommand: Command;
  /** Mounts a pulled image read-only and gives the directory to read it at, for as long as containerd runs. */
  mount(reference: string, snapshotter: Snapshotter): Promise<string>;
  /** Removes an image, its content and its snapshots. */
  remove(reference: string): Promise<void>;
  /** Ends it and removes its state. */
  stop(): Promise<void>;
}

/** This file is dist/bench/convert/containerd.js when it runs. */
const RUN_IN_LAB = fileURLToPath(new URL("../../../samples/lab/run-in-lab.sh", import.meta.url));

/** Configuration, version 3, for a directory: both snapshotters, each with the differ that belongs to it. */
function configuration(directory: string): string {
  const platform = `linux/${process.arch === "x64" ? "amd64" : process.arch}`;
  return `
version = 3
root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.grpc.v1.cri",
  "io.containerd.cri.v1.images",
  "io.containerd.cri.v1.runtime",
]
[grpc]
  address = "${directory}/socket"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "${platform}"
  snapshotter = "overlayfs"
  differ = "walking"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "${platform}"
  snapshotter = "erofs"
  differ = "erofs"
`;
}

/**
 * Starts containerd in the lab, in a mount namespace of its own. Needs root.
 * @param parent directory to keep its state under, while it runs
 */
export async function startContainerd(parent = tmpdir()): Promise<Containerd> {
  const directory = await mkdtemp(join(parent, "erofsify-containerd-"));
  await writeFile(join(directory, "config.toml"), configuration(directory));
  const command = ["--part", "containerd", "--bind", directory, "--", "containerd", "--config"];
  // run-in-lab.sh replaces itself with the command, so the child is containerd itself.
  const server = await startServer(RUN_IN_LAB, [...command, join(directory, "config.toml")], /successfully booted/);
  const namespace = ["--target", `${server.child.pid}`, "--mount", "--"];
  const client = (...args: string[]): Command => ({ command: "nsenter", args: [...namespace, "ctr", ...args] });
  const images = (...args: string[]) => client("--address", join(directory, "socket"), "images", ...args);
  const ctr = async (...args: string[]) => {
    const { command, args: all } = images(...args);
    await run(command, all);
  };
  let mounts = 0;
  return {
    pid: server.child.pid!,
    pullCommand: (reference, snapshotter) => images("pull", "--plain-http", "--snapshotter", snapshotter, reference),
    versionCommand: client("--version"),
    async mount(reference, snapshotter) {
      const target = join(directory, `mount-${mounts++}`);
      await mkdir(target);
      await ctr("mount", "--snapshotter", snapshotter, reference, target);
      return `/proc/${server.child.pid}/root${target}`;
    },
    async remove(reference) {
      await ctr("rm", "--sync", reference);
    },
    async stop() {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
