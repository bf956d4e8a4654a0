/** An image of the store as one flat file of the store: for guests that cannot have a device for every blob. */
import { open } from "node:fs/promises";
import { type FinishedBlob, type ImageRecord, recordKey, Store, storedFileOf } from "../../blobd/store/index.ts";
import { writeErofs } from "../../formats/erofs/writer/index.ts";
import { BLOCK_SIZE, type Tree } from "../../formats/tree/index.ts";
import { ImageError } from "../open/index.ts";
import { metaTree } from "./merge-image.ts";
import { UNIT_BYTES, UnitWriter } from "./unit-writer.ts";

/** Raise it when the same image is laid out in other bytes than before. */
const FLAT_FORMAT_VERSION = 1;

/**
 * Lays an image's metadata and blobs into one file of the store, with a record of its own, so that it is found the next
 * time, verified on use and pruned like any image. Its data is a second copy: guests with the flat file do not share pages
 * with guests that have the blobs.
 *
 * @returns the flat image's key.
 * @throws StoreError, FormatError; ImageError when the image is gone; the reason of `signal`
 */
export async function flattenImage(storeRoot: string, imageKey: string, signal: AbortSignal): Promise<string> {
  const key = recordKey({ kind: "flat", version: FLAT_FORMAT_VERSION, image: imageKey });
  const store = await Store.open(storeRoot);
  try {
    await store.withLayerLock(key, async () => {
      if ((await store.getImage(key)) !== undefined) return;
      const record = await store.getImage(imageKey);
      if (record === undefined) throw new ImageError("ERR_NO_IMAGE", `image ${imageKey} is no longer in the store`);
      // Neither a name nor the manifest's digest leads to it: who asks for those wants the image in its parts.
      const names = { references: [], manifestDigest: `sha256:${imageKey}` };
      store.putImage(key, { ...(await writeFlat(store, record, signal)), ...names });
    });
    return key;
  } finally {
    store.close();
  }
}

async function writeFlat(store: Store, record: ImageRecord, signal: AbortSignal): Promise<ImageRecord> {
  const tree = metaTree(store, record.meta);
  return { ...record, meta: storedFileOf(await storeFlat(store, tree, signal)), blobs: [], createdMs: Date.now() };
}

/** A tree and its blobs as one file of the store: a file system without devices. @throws StoreError; the signal's reason */
export async function storeFlat(store: Store, tree: Tree, signal: AbortSignal): Promise<FinishedBlob> {
  const image = writeErofs(tree, { layout: "flat" });
  const writer = store.createBlob();
  try {
    const units = new UnitWriter(writer);
    await units.write(image.meta);
    await units.end();
    for (const [index, { digestHex }] of tree.blobs.entries()) {
      const expected = (image.blobBaseBlocks[index] as number) * BLOCK_SIZE;
      if (writer.position !== expected)
        throw new Error(`flat image: at ${writer.position}, blob belongs at ${expected}`);
      await appendFile(units, store.blobPath(digestHex), signal);
    }
    const finished = await writer.finish();
    if (finished === undefined) throw new Error("flat image: nothing was written");
    return finished;
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

async function appendFile(units: UnitWriter, path: string, signal: AbortSignal): Promise<void> {
  const input = await open(path, "r");
  try {
    const buffer = Buffer.allocUnsafeSlow(UNIT_BYTES);
    for (let position = 0; ; position += UNIT_BYTES) {
      signal.throwIfAborted();
      const { bytesRead } = await input.read(buffer, 0, UNIT_BYTES, position);
      if (bytesRead === 0) break;
      await units.write(buffer.subarray(0, bytesRead));
    }
    await units.end();
  } finally {
    await input.close();
  }
}
