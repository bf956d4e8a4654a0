/** The program of a process that does the work of a supervised device: its data plane. Started by WorkerProcess. */
import { closeSync } from "node:fs";
import { LocalDataPlane, type MemoryRegion } from "../../vhost/index.ts";
import {
  describeDevice,
  giveData,
  hearHolds,
  hearLog,
  makeLateData,
  openDevice,
  startAliases,
} from "../device/index.ts";
import {
  type Call,
  decodeQueue,
  type FromWorker,
  type PrepareMessage,
  type StartMessage,
  type ToWorker,
} from "./messages.ts";
import { Wire } from "./wire.ts";
import { HOLD_FD, WIRE_FD } from "./worker-process.ts";

let plane: LocalDataPlane | null = null;
let aliases: Awaited<ReturnType<typeof startAliases>> = null;
const late = makeLateData();
hearLog((log) => tell({ log }));
hearHolds(() => tell({ held: true }));
/** Descriptors that the data plane uses, by what they are; closed when another takes the place. */
const regionFds = new Map<number, number>();
let channelFds: number[] = [];
const queueFds = new Map<number, number[]>();

const wire = new Wire(WIRE_FD, {
  message: (body, fds) => {
    // One after the other.
    work = work.then(() => handle(body as ToWorker, fds));
  },
  // The supervisor is gone, and with it the guest's connection.
  closed: () => process.exit(0),
});
let work: Promise<void> = Promise.resolve();

async function handle(message: ToWorker, fds: number[]): Promise<void> {
  try {
    let result: number | null = null;
    if ("prepare" in message) await prepare(message);
    else if ("start" in message) start(message, fds);
    else result = await call(message, fds);
    tell({ result });
    if ("call" in message && message.call === "close") process.exit(0);
  } catch (error) {
    tell({ error: (error as Error).message });
  }
}

function tell(message: FromWorker, fds: readonly number[] = []): void {
  wire.send(message, fds);
}

async function prepare({ prepare: options, isStandby }: PrepareMessage): Promise<void> {
  const description = describeDevice(options, { ...late, hasWindow: options.windowBytes > 0, isStandby });
  plane = new LocalDataPlane(description);
  plane.listen({
    queueBroken: (index, reason) => tell({ queueBroken: index, reason }),
    failed: (reason) => tell({ failed: reason }),
  });
  plane.prepare(description.maxQueues);
  aliases = await startAliases(options, (log) => tell({ log }));
}

function start(message: StartMessage, [memoryFd, ...rest]: number[]): void {
  const { start: options, takesOver, hasVolume, files } = message;
  const volumeFd = hasVolume ? rest.shift()! : -1;
  const guestFiles = message.guestFiles.map((file) => ({ ...file, fd: rest.shift()! }));
  const { data } = openDevice(options, {
    memoryFd: memoryFd!,
    aliasFolderFd: aliases?.folderFd ?? -1,
    guestFiles,
    takesOver,
    volumeFd,
    files: new Map(files.map((fh, index) => [fh, rest[index]!])),
    holdFd: HOLD_FD,
    holdVolume: (fd) => tell({ volume: true }, [fd]),
  });
  giveData(late, data);
}

async function call(message: Call, fds: number[]): Promise<number | null> {
  if (plane === null) throw new Error("not started");
  switch (message.call) {
    case "setMemory":
      await plane.setMemory(takeRegions(message.regions, fds));
      return null;
    case "setWindow":
      await plane.setWindow(message.window);
      return null;
    case "setChannel": {
      const old = channelFds;
      channelFds = fds;
      await plane.setChannel(message.channel === null ? null : { ...message.channel, fd: fds[0]!, stateFd: fds[1]! });
      for (const fd of old) closeSync(fd);
      return null;
    }
    case "startQueue": {
      const { index } = message.queue;
      await plane.startQueue(decodeQueue(message.queue, fds));
      closeQueue(index);
      queueFds.set(index, fds);
      return null;
    }
    case "setCall":
      await plane.setCall(message.index, fds[0] ?? -1);
      for (const fd of fds) closeSync(fd);
      return null;
    case "stopQueue": {
      const next = await plane.stopQueue(message.index);
      closeQueue(message.index);
      return next;
    }
    case "reset":
      await plane.reset();
      return null;
    case "close":
      await plane.close();
      return null;
  }
}

/** A region that is known keeps its first descriptor. */
function takeRegions(regions: readonly Omit<MemoryRegion, "fd">[], fds: readonly number[]): MemoryRegion[] {
  const taken = regions.map((region, index) => {
    const known = regionFds.get(region.id);
    if (known === undefined) regionFds.set(region.id, fds[index]!);
    else closeSync(fds[index]!);
    return { ...region, fd: known ?? fds[index]! };
  });
  const ids = new Set(regions.map(({ id }) => id));
  for (const [id, fd] of regionFds)
    if (!ids.has(id)) {
      regionFds.delete(id);
      // Its mapping does not need it.
      setImmediate(closeSync, fd);
    }
  return taken;
}

function closeQueue(index: number): void {
  for (const fd of queueFds.get(index) ?? []) closeSync(fd);
  queueFds.delete(index);
}
