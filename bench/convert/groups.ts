import { describeTree } from "../../builder/testkit/index.ts";
import type { Group } from "./case.ts";
import { containerdCase, erofsifyCase, limitCases, mkfsCase, mkfsSyncedCase, pathCase } from "./cases.ts";
import { blobPath } from "./layout.ts";
import { type Setting, TAG } from "./setting.ts";

const ZLIB = { EROFSIFY_GZIP: "zlib" };

/** The three-layer image, from a registry on the same machine. */
export function threeLayers(setting: Setting): Group {
  const { image, reference } = setting;
  const bytes = image.layers.reduce((sum, { size }) => sum + size, 0);
  return {
    id: "image",
    title: `Three-layer image, ${megabytes(bytes)}, from a registry on loopback`,
    reference: "umoci unpack",
    cases: [
      erofsifyCase(setting, "erofsify", reference),
      erofsifyCase(setting, "erofsify, zlib", reference, ZLIB),
      mkfsCase(setting, "mkfs.erofs --oci=f", ["--oci=f,insecure"], reference),
      mkfsSyncedCase(setting, "the same, and fsync", ["--oci=f,insecure"], reference),
      containerdCase(setting, "overlayfs"),
      containerdCase(setting, "erofs"),
      pathCase(setting, {
        name: "umoci unpack",
        kind: "peer",
        once: true,
        command: (path) => ({ command: "umoci", args: ["raw", "unpack", "--image", `${image.layout}:${TAG}`, path] }),
        describe: async (path) => describeTree(path),
      }),
      ...limitCases(
        setting,
        image.layers.map(({ digest }) => blobPath(image.layout, digest)),
      ),
    ],
  };
}

/** One layer of many small files, from a local tar. */
export function linuxSource(setting: Setting): Group {
  const { linuxSource: tar } = setting;
  return {
    id: "linux-source",
    title: "linux-source-6.1.tar.gz, 221 MB, 83,731 entries",
    reference: "tar xzf",
    cases: [
      erofsifyCase(setting, "erofsify", `tar:${tar}`),
      erofsifyCase(setting, "erofsify, zlib", `tar:${tar}`, ZLIB),
      mkfsCase(setting, "mkfs.erofs --tar=f --gzip", ["--tar=f", "--gzip"], tar),
      mkfsSyncedCase(setting, "the same, and fsync", ["--tar=f", "--gzip"], tar),
      pathCase(setting, {
        name: "tar xzf",
        kind: "peer",
        directory: true,
        // Without the last option GNU tar gives directories that are continued later in the archive the time of unpacking.
        command: (path) => ({ command: "tar", args: ["xzf", tar, "-C", path, "--delay-directory-restore"] }),
        describe: async (path) => describeTree(path),
      }),
      ...limitCases(setting, [tar]),
    ],
  };
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}
