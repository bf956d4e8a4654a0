import { threadId } from "node:worker_threads";
import type { FileSystem } from "../../fuse/index.ts";
import { openServed, type ServedShared } from "../../fuse/root/index.ts";
import type { HandlerFactory } from "../../vhost/index.ts";
import { openAlias } from "../alias/index.ts";
import { FsQueue, type GuestFile, NotingMapper, ReadOnlyMemory } from "../queue/index.ts";
import { DaxWindowTable } from "../window/index.ts";
import { mapDeviceMemory } from "./device-memory.ts";
import { holdHooks } from "./hold-channel.ts";
import { awaitData, isGiven, type LateData, takeData } from "./late-data.ts";
import { openLog } from "./log-channel.ts";
import type { VirtiofsOptions } from "./options.ts";
import { Rehearsal } from "./rehearsal.ts";

/** What the thread of a queue gets, as a plain description. */
export interface WorkerData {
  readonly options: VirtiofsOptions;
  /** Of the device's memory. */
  readonly memoryFd: number;
  readonly volume: ServedShared;
  /** The folder of aliases; -1 for none. */
  readonly aliasFolderFd: number;
  /** The socket into which files go that have lost their name; -1 for none. */
  readonly holdFd: number;
  /** Another process has served it before: the guest waits. */
  readonly takesOver: boolean;
  /** Memory of the guest that is files of the host. */
  readonly guestFiles: readonly GuestFile[];
}

const EBADF = 9;
/** Of so many queues the threads rehearse: it takes a processor's time, and more are not busy at once at first. */
const MAX_REHEARSED = 4;
/** A process that is kept ready waits so long before it does: while others start, they have need of the processor. In ms. */
const CALM_MS = 2000;

/** Makes the handler of one queue: a file system of its own over the shared state. */
export const makeQueue: HandlerFactory = (worker) => {
  const data = worker.data as WorkerData | LateData;
  const log = openLog();
  const rehearsal = new Rehearsal("late" in data ? data.hasWindow : data.options.windowBytes > 0);
  const prepare = (isAsked: () => boolean) => {
    try {
      if (worker.queue <= MAX_REHEARSED) rehearsal.run(worker.queue, isAsked);
    } catch (error) {
      log(`queue ${worker.queue} was not rehearsed, its first requests will be slow: ${(error as Error).message}`);
    }
  };
  if ("late" in data && data.isStandby && !awaitData(data, CALM_MS)) prepare(() => isGiven(data));
  const given = "late" in data ? takeData(data) : data;
  const { options, memoryFd, volume, aliasFolderFd, holdFd, takesOver, guestFiles } = given;
  // Confined to its directory, it finds no place for it.
  if (!takesOver && volume.kind === "directory" && volume.config.sandbox === "thread") prepare(() => false);
  const { windowBytes } = options;
  const memory = mapDeviceMemory(memoryFd, windowBytes);
  const mapper = new NotingMapper(worker);
  let fileSystem: FileSystem | null = null;
  const window =
    windowBytes === 0
      ? null
      : new DaxWindowTable({
          address: memory.windowAddress,
          bytes: windowBytes,
          mapper,
          alias: aliasFolderFd < 0 ? null : (fd) => openAlias(aliasFolderFd, fd, threadId),
          reopen: (nodeId) => fileSystem?.openMapped?.(nodeId) ?? -EBADF,
          readMapped: (...range) => fileSystem?.readMapped?.(...range) ?? -EBADF,
        });
  const opened = openServed(volume, window ?? undefined, holdFd < 0 ? undefined : holdHooks(holdFd));
  fileSystem = opened;
  return new FsQueue({
    worker,
    fileSystem: opened,
    session: memory.session,
    window,
    mapper,
    guestFiles: new ReadOnlyMemory(guestFiles),
    log,
    ...(!takesOver && { prepare }),
  });
};
