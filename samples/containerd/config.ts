import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Which containerd: 2 is the lab's current one, 1.7 that of Debian 13. */
export type ContainerdVersion = "2" | "1.7";

/** containerd's configuration for a directory: ours beside its own snapshotters. */
export interface ContainerdConfig {
  readonly version: ContainerdVersion;
  /** Directory for its root, state and socket. */
  readonly directory: string;
  /** The snapshotter's socket and folder. */
  readonly address: string;
  readonly root: string;
  /** Image of the pause container: then it serves Kubernetes' interface too. */
  readonly sandboxImage?: string | undefined;
}

/** The name that containerd knows our snapshotter by. */
export const SNAPSHOTTER = "erofsify";

/** The sample configuration; this file is dist/samples/containerd/config.js when it runs. */
const sample = (version: ContainerdVersion) =>
  fileURLToPath(new URL(`../../../samples/containerd/config-${version}.toml`, import.meta.url));

/**
 * The sample configuration with other paths, and with what a containerd for tests needs besides: a folder of its own, CRI
 * only with a sandbox image, garbage collected at once, and (containerd 2) its own erofs snapshotter to compare with.
 */
export function containerdConfig({ version, directory, address, root, sandboxImage }: ContainerdConfig): string {
  const platform = `linux/${process.arch === "x64" ? "amd64" : process.arch}`;
  const text = readFileSync(sample(version), "utf8")
    .replaceAll("/run/blobd/snapshotter.sock", address)
    .replaceAll("/var/lib/blobd/snapshotter", root)
    .replaceAll("linux/amd64", platform)
    .replace(/^version = \d\n/m, (line) => line + head(directory, sandboxImage !== undefined));
  const theirs = `
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "${platform}"
  snapshotter = "erofs"
  differ = "erofs"`;
  return `${text}${version === "2" ? theirs : ""}${sandboxImage === undefined ? "" : kubernetes(version, sandboxImage)}
[plugins."io.containerd.gc.v1.scheduler"]
  pause_threshold = 0.5
  startup_delay = "10ms"
`;
}

/** Tests run where not even root may lower an OOM score. */
function kubernetes(version: ContainerdVersion, sandboxImage: string): string {
  return version === "1.7"
    ? `
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${sandboxImage}"
  restrict_oom_score_adj = true`
    : `
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "${sandboxImage}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true`;
}

function head(directory: string, withCri: boolean): string {
  const cri = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];
  const disabled = ["io.containerd.snapshotter.v1.btrfs", ...(withCri ? [] : cri)];
  return `root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = ${JSON.stringify(disabled)}
[grpc]
  address = "${directory}/containerd.sock"
`;
}
