/** The script of the thread that stores pages; see PageStorer. */
import { parentPort, workerData } from "node:worker_threads";
import { BlobTable } from "../fuse/blobs/index.ts";
import { FuseNotifier } from "../fuse/device/index.ts";
import { MAX_WRITE_BYTES } from "../fuse/index.ts";
import { SharedBlobReader } from "../store/index.ts";
import type { StoreOrder, StorerStart } from "./page-storer.ts";

const start = workerData as StorerStart;
const table = new BlobTable(start.table);
const notifier = new FuseNotifier(start.deviceFd);
const pending = new Int32Array(start.pending);

parentPort!.on("message", ({ index, nodeId, offset, bytes }: StoreOrder) => {
  try {
    const blob = new SharedBlobReader(table.blob(index));
    // Nothing depends on its success: what is not stored is read.
    for (let done = 0; done < bytes; done += MAX_WRITE_BYTES) {
      const length = Math.min(MAX_WRITE_BYTES, bytes - done);
      const at = offset + done;
      if (notifier.store(nodeId, at, length, (address, room) => blob.readAt(address, room, at)) < 0) break;
    }
  } finally {
    table.unuse(index);
    Atomics.sub(pending, 0, 1);
  }
});
