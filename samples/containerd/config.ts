import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** containerd's configuration, version 3, for a directory: ours beside its own snapshotters. */
export interface ContainerdConfig {
  /** Directory for its root, state and socket. */
  readonly directory: string;
  /** The snapshotter's socket and folder. */
  readonly address: string;
  readonly root: string;
}

/** The name that containerd knows our snapshotter by. */
export const SNAPSHOTTER = "erofsify";

/** The sample configuration; this file is dist/samples/containerd/config.js when it runs. */
const SAMPLE = fileURLToPath(new URL("../../../samples/containerd/config-2.toml", import.meta.url));

/**
 * The sample configuration with other paths, and with what a containerd for tests needs besides: a folder of its own, no
 * CRI, garbage collected at once, and containerd's own erofs snapshotter to compare with.
 */
export function containerdConfig({ directory, address, root }: ContainerdConfig): string {
  const platform = `linux/${process.arch === "x64" ? "amd64" : process.arch}`;
  const sample = readFileSync(SAMPLE, "utf8")
    .replaceAll("/run/blobd/snapshotter.sock", address)
    .replaceAll("/var/lib/blobd/snapshotter", root)
    .replaceAll("linux/amd64", platform)
    .replace("version = 3\n", head(directory));
  return `${sample}
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "${platform}"
  snapshotter = "erofs"
  differ = "erofs"
[plugins."io.containerd.gc.v1.scheduler"]
  pause_threshold = 0.5
  startup_delay = "10ms"
`;
}

function head(directory: string): string {
  return `version = 3
root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.grpc.v1.cri",
  "io.containerd.cri.v1.runtime",
]
[grpc]
  address = "${directory}/containerd.sock"
`;
}
