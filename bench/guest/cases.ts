import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PAGE_SIZE } from "../../blobd/sys/index.ts";
import { VIRTIO_FS } from "../../builder/guestkit/index.ts";
import { openImage } from "../../builder/open/index.ts";
import { type Server, startServer } from "../../builder/testkit/index.ts";
import type { Requirement } from "../../builder/vm/index.ts";
import type { ErofsReader } from "../../formats/erofs/index.ts";
import { S_IFDIR } from "../../formats/tree/index.ts";
import type { Case } from "./case.ts";
import { type Inputs, TREE } from "./inputs.ts";

const VIRTIO_BLK: Requirement = { option: "VIRTIO_BLK", module: "virtio_blk", why: "the benchmark's disk" };

const RUN_IN_LAB = fileURLToPath(new URL("../../../samples/lab/run-in-lab.sh", import.meta.url));
const VIRTIOFSD = "/usr/libexec/virtiofsd";

/** All cases, and how much of the page cache the metadata of the image takes that two of them have. */
export async function makeCases(inputs: Inputs, work: string): Promise<{ cases: Case[]; metadataCacheBytes: number }> {
  const { parts, metadataCacheBytes } = await partsOf(inputs.treeImage, inputs.storeRoot);
  const common = { image: inputs.toolsImage, devices: [], needs: [], prepare: [], folder: "/mnt" };
  const pmem: Case = {
    ...common,
    id: "pmem",
    name: "EROFS DAX, virtio-pmem",
    kind: "ours",
    image: inputs.treeImage,
    folder: "/",
    hostPaths: parts,
  };
  const socket = join(work, "virtiofsd.sock");
  const virtiofs: Case = {
    ...common,
    id: "virtiofs",
    name: "virtiofsd, vhost-user-fs",
    kind: "peer",
    devices: [
      ...["-chardev", `socket,id=tree,path=${socket}`],
      ...["-device", "vhost-user-fs-pci,chardev=tree,tag=tree,queue-size=1024"],
    ],
    needs: [VIRTIO_FS],
    prepare: ["mount -t virtiofs -o ro tree /mnt"],
    hostPaths: [inputs.unpackedPath],
    serve: () => startVirtiofsd(inputs.unpackedPath, work, socket),
  };
  const blk: Case = {
    ...common,
    id: "blk",
    name: "EROFS, virtio-blk",
    kind: "peer",
    devices: [
      ...["-drive", `if=none,id=tree,format=raw,readonly=on,file=${inputs.flatPath}`],
      ...["-device", "virtio-blk-pci,drive=tree"],
    ],
    needs: [VIRTIO_BLK],
    prepare: ["mkdir /tmp/dev", "mount -t devtmpfs devtmpfs /tmp/dev", "mount -t erofs -o ro /tmp/dev/vda /mnt"],
    hostPaths: [inputs.flatPath],
  };
  const tmpfs: Case = {
    ...common,
    id: "tmpfs",
    name: "tmpfs",
    kind: "limit",
    image: inputs.treeImage,
    prepare: ["mount -t tmpfs -o size=90% tmpfs /mnt", `tar -C / -cf - ${TREE} | tar -C /mnt -xf -`],
    hostPaths: parts,
  };
  return { cases: [pmem, virtiofs, blk, tmpfs], metadataCacheBytes };
}

async function partsOf(
  image: string,
  storeRoot: string,
): Promise<{ parts: readonly string[]; metadataCacheBytes: number }> {
  const opened = await openImage(image, { storeRoot });
  try {
    const parts = [opened.metaPath, ...opened.devicePaths];
    return { parts, metadataCacheBytes: opened.meta.size + directoryCacheBytes(opened.reader) };
  } finally {
    opened.close();
  }
}

/**
 * Linux reads inodes through the block device's page cache and names through that of each directory, whole pages of it,
 * however few bytes of names lie behind the directory's inode.
 */
function directoryCacheBytes(reader: ErofsReader): number {
  const pagesBytes = ({ size }: { readonly size: number }) => Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
  let bytes = 0;
  const left = [reader.rootNid];
  for (let nid = left.pop(); nid !== undefined; nid = left.pop()) {
    const directory = reader.inode(nid);
    bytes += pagesBytes(directory);
    for (const entry of reader.readdir(directory))
      if (entry.name !== "." && entry.name !== ".." && reader.inode(entry.nid).type === S_IFDIR) left.push(entry.nid);
  }
  return bytes;
}

/**
 * virtiofsd of the lab on a folder, with all caching that it has. With file handles it keeps no descriptor open for each
 * file that the guest knows.
 */
async function startVirtiofsd(shared: string, work: string, socket: string): Promise<Server> {
  const options = ["--cache=always", "--inode-file-handles=prefer", "--sandbox=none"];
  const daemon = [VIRTIOFSD, `--socket-path=${socket}`, `--shared-dir=${shared}`, ...options];
  const server = await startServer(RUN_IN_LAB, ["--bind", work, "--", ...daemon], /Waiting for vhost-user socket/);
  if (!existsSync(socket) || !statSync(socket).isSocket()) throw new Error(`virtiofsd made no ${socket}`);
  return server;
}
