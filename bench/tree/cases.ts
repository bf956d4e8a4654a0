import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { VIRTIO_FS } from "../../builder/guestkit/index.ts";
import { startServer } from "../../builder/testkit/index.ts";
import { type Case, type Inputs, makeCases } from "../guest/index.ts";

// This file is dist/bench/tree/cases.js when it runs.
const BLOBD = fileURLToPath(new URL("../../blobd/cli/main.js", import.meta.url));

/** With a mapping for each small file the whole tree takes too long: this part of it is read then. */
export const PART = "fs";

export const CASE_IDS = [
  "pmem",
  "imagefs",
  "passthrough",
  "pmem-part",
  "imagefs-always",
  "passthrough-always",
] as const;
export type CaseId = (typeof CASE_IDS)[number];

/** Of the whole tree: large files are mapped, small ones read. */
const INODE = "inode";
const ALWAYS = "always";
/** Of the tree's files 263 are larger, and 2,429 larger than 64 KiB: each is a mapping, which costs as much as several reads. */
const THRESHOLD = "256K";

export async function treeCases(inputs: Inputs, work: string): Promise<Case[]> {
  const pmem = (await makeCases(inputs, work)).cases.find(({ id }) => id === "pmem")!;
  const mapped = (dax: typeof INODE | typeof ALWAYS) =>
    ["--dax", dax, ...(dax === INODE ? ["--dax-threshold", THRESHOLD] : []), "--dax-read-only-trusted"] as const;
  const imagefs = (dax: typeof INODE | typeof ALWAYS) =>
    ["--image", inputs.treeImage, "--store", inputs.storeRoot, ...mapped(dax)] as const;
  const passthrough = (dax: typeof INODE | typeof ALWAYS) =>
    ["--shared-dir", inputs.unpackedPath, "--read-only", "--no-open", "--cache", "always", ...mapped(dax)] as const;
  const overVirtiofs = (id: CaseId, name: string, dax: string, options: readonly string[]): Case => {
    const socket = join(work, `${id}.sock`);
    return {
      id,
      name,
      kind: "ours",
      image: inputs.toolsImage,
      devices: [
        ...["-chardev", `socket,id=tree,path=${socket}`],
        ...["-device", "vhost-user-test-device-pci,chardev=tree,virtio-id=26,num_vqs=2,config_size=44,vq_size=1024"],
      ],
      needs: [VIRTIO_FS],
      prepare: [`mount -t virtiofs -o ro,dax=${dax} tree /mnt`],
      folder: "/mnt",
      hostPaths: id.startsWith("imagefs") ? pmem.hostPaths : [inputs.unpackedPath],
      serve: () =>
        startServer(
          process.execPath,
          [BLOBD, "virtiofs", "--socket-path", socket, "--tag", "tree", "--log-level", "warn", ...options],
          /listening/,
        ),
    };
  };
  return [
    pmem,
    overVirtiofs("imagefs", "imagefs, virtio-fs, DAX from 256 KiB on", INODE, imagefs(INODE)),
    overVirtiofs("passthrough", "passthrough, virtio-fs, DAX from 256 KiB on", INODE, passthrough(INODE)),
    { ...pmem, id: "pmem-part", part: PART },
    { ...overVirtiofs("imagefs-always", "imagefs, virtio-fs, DAX for all", ALWAYS, imagefs(ALWAYS)), part: PART },
    {
      ...overVirtiofs("passthrough-always", "passthrough, virtio-fs, DAX for all", ALWAYS, passthrough(ALWAYS)),
      part: PART,
    },
  ];
}
