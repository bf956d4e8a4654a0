import { closeSync } from "node:fs";
import { roundUp } from "../../formats/bytes/index.ts";
import { queueRegionBytes } from "../../formats/vhost-user/index.ts";
import {
  AVAIL_ALIGN,
  availRingBytes,
  Desc,
  DescFlag,
  descTableBytes,
  RING_ENTRIES,
  RING_INDEX,
  usedRingBytes,
} from "../../formats/virtio/index.ts";
import { eventFd, mapShared, memfd, PAGE_SIZE, signalEvent, unmapShared, viewMemory } from "../sys/index.ts";
import type { QueueHandler, QueueWorker } from "./queue-handler.ts";
import { QueueRunner } from "./queue-runner.ts";
import { RehearsalChannel } from "./rehearsal-channel.ts";
import type { CommandPort, WorkerCommand } from "./worker-commands.ts";
import { sharedWord } from "./worker-signal.ts";

/** Descriptors of the ring. */
const SIZE = 64;
/** Requests under way at most. */
export const REHEARSAL_SLOTS = 4;
const INDIRECT_BYTES = 64 * Desc.size;
/** Pieces from here on are neighbours of one other each. */
const PAIRS_FROM = 8;
/** Room of a request, and of its reply. */
const REHEARSAL_BYTES = 40 << 10;

/**
 * Where the same memory is in the guest once more, behind a hole. Pieces of a request lie in the one and the other in turn:
 * a guest's, too, are seldom neighbours, and not all in one region.
 */
const TWIN_ADDRESS = 0x1_0000_0000;

/*
 *  descriptors │ available │ used │ slots: table of descriptors │ what is asked │ what is answered
 */
const AVAIL_AT = descTableBytes(SIZE);
const USED_AT = roundUp(AVAIL_AT + availRingBytes(SIZE), 8);
const SLOTS_AT = roundUp(USED_AT + usedRingBytes(SIZE), PAGE_SIZE);
const SLOT_BYTES = roundUp(INDIRECT_BYTES, PAGE_SIZE) + 2 * REHEARSAL_BYTES;
const MEMORY_BYTES = SLOTS_AT + REHEARSAL_SLOTS * SLOT_BYTES;

/** One request's place in memory. */
export interface RehearsalSlot {
  readonly asked: Uint8Array;
  readonly answered: Uint8Array;
}

/** The driver's side of the queue. */
export interface RehearsalDriver {
  readonly slots: readonly RehearsalSlot[];
  /** Makes the request in a slot available, in pieces of these lengths, of which neighbours are joined now and then. */
  add(slot: number, asked: readonly number[], answered: readonly number[]): void;
  /** Has the next call of the mapper answered, for a device with a window: one that maps, or one that unmaps. */
  answer(isMap: boolean): void;
}

/**
 * Serves a queue on this thread whose driver is on this thread too: all that a real queue does to a worker, so that what
 * serves it is compiled before there is one. V8 interprets a function at first and takes several times as long for it.
 *
 * @param windowBytes of the device's window, 0 for none
 * @param makeHandler the device's handler, of which `idle` is to call `emptied` and to answer -1
 * @param script makes requests available, and goes on behind each `yield` when they are answered
 * @throws Error when the script does, or the queue cannot be served
 */
export function rehearseQueue(
  windowBytes: number,
  makeHandler: (worker: QueueWorker, emptied: () => void) => QueueHandler,
  script: (driver: RehearsalDriver) => Iterator<void>,
): void {
  const [memoryFd, inflightFd] = [memfd("rehearsal", MEMORY_BYTES), memfd("rehearsal", queueRegionBytes(SIZE))];
  const [signalFd, kickFd, callFd] = [eventFd(), eventFd(), eventFd()];
  const address = mapShared(memoryFd, 0, MEMORY_BYTES);
  const twin = mapShared(memoryFd, 0, MEMORY_BYTES);
  const channel = windowBytes === 0 ? null : new RehearsalChannel(windowBytes);
  try {
    const posted = sharedWord();
    const commands: WorkerCommand[] = [];
    const post = (command: WorkerCommand) => {
      commands.push(command);
      Atomics.add(posted, 0, 1);
      signalEvent(signalFd);
    };
    const quit = () => post({ id: 0, kind: "quit" });
    let failure: string | undefined;
    const port: CommandPort = {
      receive: () => commands.shift(),
      report: (report) => {
        if ("value" in report) return;
        failure = "broken" in report ? report.broken : report.error;
        quit();
      },
    };
    const steps = script({ ...makeRing(address), answer: (isMap) => channel?.answer(isMap) });
    // The handler may catch what it throws.
    const isDone = () => {
      try {
        return steps.next().done === true;
      } catch (error) {
        failure = (error as Error).message;
        return true;
      }
    };
    let isKicked = false;
    const emptied = () => {
      // Every second time there is nothing but a kick, so that the worker sleeps and is woken, as it mostly is.
      isKicked = !isKicked;
      if (isKicked) signalEvent(kickFd);
      else if (isDone()) quit();
    };
    const start = { queue: 1, data: null, signalFd, posted, interrupts: sharedWord() };
    const runner = new QueueRunner(start, port, (worker) => makeHandler(worker, emptied));
    const regions = [
      { id: 0, guestAddress: 0, bytes: MEMORY_BYTES, hostAddress: address },
      { id: 1, guestAddress: TWIN_ADDRESS, bytes: MEMORY_BYTES, hostAddress: twin },
    ];
    post({ id: 0, kind: "memory", regions });
    if (channel !== null) post({ id: 0, kind: "channel", channel: channel.description, lockFd: channel.lockFd });
    post({
      id: 0,
      kind: "start",
      start: {
        ...{ index: 1, size: SIZE, availIndex: 0, eventIdx: true, indirect: true, kickFd, callFd },
        ...{ descriptorAddress: 0, availableAddress: AVAIL_AT, usedAddress: USED_AT },
        inflight: { fd: inflightFd, offset: 0, bytes: queueRegionBytes(SIZE) },
      },
    });
    runner.run();
    if (failure !== undefined) throw new Error(failure);
  } finally {
    channel?.close();
    for (const place of [address, twin]) unmapShared(place, MEMORY_BYTES);
    for (const fd of [memoryFd, inflightFd, signalFd, kickFd, callFd]) closeSync(fd);
  }
}

function makeRing(address: number): Pick<RehearsalDriver, "slots" | "add"> {
  const memory = viewMemory(address, MEMORY_BYTES);
  const dv = new DataView(memory);
  const avail = new Uint16Array(memory, AVAIL_AT, availRingBytes(SIZE) / AVAIL_ALIGN);
  const slots = Array.from({ length: REHEARSAL_SLOTS }, (_, slot) => {
    const at = askedAt(slot);
    return {
      asked: new Uint8Array(memory, at, REHEARSAL_BYTES),
      answered: new Uint8Array(memory, at + REHEARSAL_BYTES, REHEARSAL_BYTES),
    };
  });
  let index = 0;
  const descriptor = (at: number, pointsTo: number, bytes: number, flags: number, next: number) => {
    dv.setUint32(at, pointsTo >>> 0, true);
    dv.setUint32(at + 4, Math.floor(pointsTo / 0x1_0000_0000), true);
    dv.setUint32(at + Desc.at.len, bytes, true);
    dv.setUint16(at + Desc.at.flags, flags, true);
    dv.setUint16(at + Desc.at.next, next, true);
  };
  return {
    slots,
    add(slot, asked, answered) {
      const table = SLOTS_AT + slot * SLOT_BYTES;
      const count = asked.length + answered.length;
      let at = askedAt(slot);
      for (let piece = 0; piece < count; piece++) {
        if (piece === asked.length) at = askedAt(slot) + REHEARSAL_BYTES;
        const bytes = piece < asked.length ? asked[piece]! : answered[piece - asked.length]!;
        const flags = (piece < asked.length ? 0 : DescFlag.WRITE) | (piece < count - 1 ? DescFlag.NEXT : 0);
        // One and one of the first pages, then two and two.
        const isTwin = (piece < PAIRS_FROM ? piece & 1 : piece & 2) !== 0;
        descriptor(table + piece * Desc.size, isTwin ? TWIN_ADDRESS + at : at, bytes, flags, piece + 1);
        at += bytes;
      }
      // As a driver does: a single piece needs no table.
      if (count === 1) descriptor(slot * Desc.size, askedAt(slot), asked[0]!, 0, 0);
      else descriptor(slot * Desc.size, table, count * Desc.size, DescFlag.INDIRECT, 0);
      avail[RING_ENTRIES / 2 + (index & (SIZE - 1))] = slot;
      index = (index + 1) & 0xffff;
      // Wants to be told of every reply, as a driver does that waits for it: used_event.
      avail[RING_ENTRIES / 2 + SIZE] = (index - 1) & 0xffff;
      Atomics.store(avail, RING_INDEX / 2, index);
    },
  };
}

function askedAt(slot: number): number {
  return SLOTS_AT + slot * SLOT_BYTES + roundUp(INDIRECT_BYTES, PAGE_SIZE);
}
