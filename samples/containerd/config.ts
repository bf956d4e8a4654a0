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

export function containerdConfig({ directory, address, root }: ContainerdConfig): string {
  const platform = `linux/${process.arch === "x64" ? "amd64" : process.arch}`;
  const unpack = (snapshotter: string, differ: string) => `
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "${platform}"
  snapshotter = "${snapshotter}"
  differ = "${differ}"
`;
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
  address = "${directory}/containerd.sock"
[proxy_plugins.${SNAPSHOTTER}]
  type = "snapshot"
  address = "${address}"
  [proxy_plugins.${SNAPSHOTTER}.exports]
    root = "${root}"
[proxy_plugins.${SNAPSHOTTER}-diff]
  type = "diff"
  address = "${address}"
[plugins."io.containerd.service.v1.diff-service"]
  default = ["${SNAPSHOTTER}-diff", "walking"]
[plugins."io.containerd.gc.v1.scheduler"]
  pause_threshold = 0.5
  startup_delay = "10ms"
${unpack(SNAPSHOTTER, `${SNAPSHOTTER}-diff`)}${unpack("overlayfs", "walking")}${unpack("erofs", "erofs")}`;
}
