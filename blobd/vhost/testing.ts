/** A back-end and a front-end, connected, for tests. Not part of the folder's door. */
import { socketPair } from "../sys/index.ts";
import type { DeviceDescription } from "./device.ts";
import { LocalDataPlane } from "./local-data-plane.ts";
import { FrontEnd, type FrontEndOptions } from "./testing-front-end.ts";
import { DriverQueue, type Piece } from "./testing-guest.ts";
import { type BackendOptions, VhostBackend } from "./vhost-backend.ts";

export const WINDOW_BYTES = 8 << 20;

/** @param worker the module that serves its queues */
export function testDevice(windowBytes = 0, worker = "./testing-worker.js"): DeviceDescription {
  return {
    name: "test",
    maxQueues: 4,
    features: 0n,
    config: Uint8Array.from([1, 2, 3, 4]),
    windowBytes,
    worker: { module: new URL(worker, import.meta.url).href, data: null },
  };
}

export interface Rig {
  readonly backend: VhostBackend;
  readonly plane: LocalDataPlane;
  readonly frontEnd: FrontEnd;
  readonly queue: DriverQueue;
  /** What the back-end logged. */
  readonly log: string[];
  /** Sends a request and waits for it. @returns what the device wrote */
  request(bytes: Uint8Array, room?: number, target?: DriverQueue): Promise<Buffer>;
  close(): Promise<void>;
}

const open = new Set<Rig>();

/** Closes what a test has left open when it failed: it would keep the process from ending. For `after`. */
export async function closeRigs(): Promise<void> {
  for (const left of open) await left.close();
}

/** A device with one queue that runs. */
export async function rig(
  options: FrontEndOptions & BackendOptions & { size?: number; startsQueue?: boolean; worker?: string } = {},
): Promise<Rig> {
  const device = testDevice(options.windowBytes ?? 0, options.worker);
  const plane = new LocalDataPlane(device);
  const log: string[] = [];
  const backend = new VhostBackend(device, plane, { ...options, log: (line) => log.push(line) });
  const [ours, theirs] = socketPair();
  backend.adopt(theirs);
  const frontEnd = new FrontEnd(ours);
  await frontEnd.start(options);
  const serving = frontEnd.channel?.serve();
  const queue = new DriverQueue(frontEnd.ram, options.size ?? 64, options.eventIdx !== false);
  if (options.startsQueue !== false) await frontEnd.startQueue(0, queue);
  const made: Rig = {
    backend,
    plane,
    frontEnd,
    queue,
    log,
    async request(bytes, room = bytes.length, target = queue) {
      const { pieces, out } = place(target, bytes, room);
      target.add(pieces);
      target.kick();
      const { bytes: written } = await target.next();
      return Buffer.from(target.ram.bytes.subarray(out, out + written));
    },
    async close() {
      open.delete(made);
      frontEnd.close();
      try {
        await serving;
      } finally {
        await backend.close();
        queue.close();
        frontEnd.ram.close();
      }
    },
  };
  open.add(made);
  return made;
}

/** Puts a request's bytes into guest memory, with room for the reply. */
export function place(queue: DriverQueue, bytes: Uint8Array, room: number): { pieces: Piece[]; out: number } {
  const at = queue.ram.allocate(bytes.length, 8);
  queue.ram.bytes.set(bytes, at);
  const out = queue.ram.allocate(Math.max(room, 1), 8);
  return {
    pieces: [
      { address: at, bytes: bytes.length },
      { address: out, bytes: room, writable: true },
    ],
    out,
  };
}
