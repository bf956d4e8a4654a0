/** An image's files as devices of a guest. */
import { createHash } from "node:crypto";
import { constants, createReadStream, statSync } from "node:fs";
import { copyFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { BLOCK_SIZE } from "../../formats/tree/index.ts";
import type { OpenedImage } from "../open/index.ts";
import { VmError } from "./errors.ts";
import type { PmemDevice } from "./vmm/index.ts";

/** virtio-pmem takes whole multiples of this, in bytes: the guest's kernel maps memory in such sections. */
export const PMEM_UNIT_BYTES = 2 << 20;

/** How much of an image is read before a guest gets it. */
export type Verification = "changed" | "all";

/**
 * Checks that an image's files are what the image says: sizes always, digests as `verification` tells. `changed` reads what
 * may have been changed since it was verified: nothing of an image in the store (opening it has looked at size, inode and
 * times of every file and read what was not as noted), every blob of one that lies outside. `all` reads everything.
 *
 * @throws VmError ERR_BLOB
 */
export async function verifyParts(image: OpenedImage, verification: Verification): Promise<void> {
  const { devices } = image.reader;
  for (const [index, path] of image.devicePaths.entries()) {
    const size = (devices[index]?.blocks ?? 0) * BLOCK_SIZE;
    const found = statSync(path).size;
    if (found !== size)
      throw new VmError("ERR_BLOB", `blob ${index + 1}, ${path}: has ${found} bytes, the image says ${size}`);
  }
  if (image.stored !== undefined && verification === "changed") return;
  const blobs = image.devicePaths.map((path, index) => ({ path, digestHex: devices[index]?.tag ?? "" }));
  const meta = image.stored && [{ path: image.metaPath, digestHex: image.stored.record.meta.digestHex }];
  for (const { path, digestHex } of [...(meta ?? []), ...blobs]) {
    if (!/^[0-9a-f]{64}$/.test(digestHex)) continue; // Made by another tool: no digest to compare with.
    if ((await sha256(path)) !== digestHex)
      throw new VmError(
        "ERR_BLOB",
        `${path} has changed: it does not have the digest ${digestHex} that the image names`,
      );
  }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/**
 * The image's files as pmem devices, metadata first. A file whose size is no multiple of 2 MiB (an image of another tool)
 * is copied into `folder` and filled up with zeros, unless that is there already: a guest may have it.
 */
export async function pmemDevices(image: OpenedImage, folder: string): Promise<PmemDevice[]> {
  const paths = [image.metaPath, ...image.devicePaths];
  return Promise.all(paths.map((path, index) => wholeUnits(path, join(folder, `part${index}`))));
}

async function wholeUnits(path: string, copyPath: string): Promise<PmemDevice> {
  const { size } = statSync(path);
  const sizeBytes = Math.ceil(size / PMEM_UNIT_BYTES) * PMEM_UNIT_BYTES;
  if (size === sizeBytes) return { path, sizeBytes };
  if (statSync(copyPath, { throwIfNoEntry: false })?.size === sizeBytes) return { path: copyPath, sizeBytes };
  await copyFile(path, copyPath, constants.COPYFILE_FICLONE);
  await truncate(copyPath, sizeBytes);
  return { path: copyPath, sizeBytes };
}
