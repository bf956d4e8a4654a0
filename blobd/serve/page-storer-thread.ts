/** The script of the thread that stores pages; see PageStorer. */
import { closeSync, readdirSync, readlinkSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { BlobTable } from "../fuse/blobs/index.ts";
import { FuseNotifier } from "../fuse/device/index.ts";
import { MAX_WRITE_BYTES } from "../fuse/index.ts";
import { SharedBlobReader } from "../store/index.ts";
import { ownDescriptors, ProcessDescriptors } from "../sys/index.ts";
import type { StoreOrder, StorerStart } from "./page-storer.ts";

const start = workerData as StorerStart;
const table = new BlobTable(start.table);
const pending = new Int32Array(start.pending);
ownDescriptors();
closeCopies();
const descriptors = new ProcessDescriptors();
let hasTold = false;

parentPort!.on("message", (order: StoreOrder) => {
  try {
    store(order);
  } catch (error) {
    // The next one may go well.
    tell((error as Error).message);
  } finally {
    table.unuse(order.index);
    Atomics.sub(pending, 0, 1);
  }
});
parentPort!.postMessage("ready");

/** Said once: what fails for one order mostly fails for all. */
function tell(message: string): void {
  if (!hasTold) parentPort!.postMessage(message);
  hasTold = true;
}

/** Closes what the process had open: files and sockets would stay open here when it closes them. */
function closeCopies(): void {
  for (const name of readdirSync("/proc/thread-self/fd")) {
    try {
      if (/^(\/|socket:)/.test(readlinkSync(`/proc/thread-self/fd/${name}`))) closeSync(Number(name));
    } catch {
      // By which the folder was read.
    }
  }
}

/** Nothing depends on its success: what is not stored is read. */
function store({ index, nodeId, offset, bytes, deviceFd }: StoreOrder): void {
  const shared = table.blob(index);
  const opened: number[] = [];
  const ours = (theirs: number): number => {
    const fd = theirs < 0 ? -1 : descriptors.get(theirs);
    if (fd >= 0) opened.push(fd);
    return fd;
  };
  try {
    const [fd, directFd, device] = [ours(shared.fd), ours(shared.directFd), ours(deviceFd)];
    if (fd < 0 || device < 0) return;
    const blob = new SharedBlobReader({ ...shared, fd, directFd });
    const notifier = notifierOf(device);
    for (let done = 0; done < bytes; done += MAX_WRITE_BYTES) {
      const length = Math.min(MAX_WRITE_BYTES, bytes - done);
      const at = offset + done;
      if (notifier.store(nodeId, at, length, (address, room) => blob.readAt(address, room, at)) < 0) break;
    }
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** Notifiers by their descriptors, which have few numbers: each has a buffer of a megabyte. */
const notifiers = new Map<number, FuseNotifier>();
function notifierOf(fd: number): FuseNotifier {
  let notifier = notifiers.get(fd);
  if (notifier === undefined) {
    notifier = new FuseNotifier(fd);
    notifiers.set(fd, notifier);
  }
  return notifier;
}
