/** The device of the tests: does what a request's first bytes say. Not part of the folder's door. */
import { closeSync, openSync } from "node:fs";
import { copyMemory, viewMemory } from "../sys/index.ts";
import { type Chain, PLACE } from "./chain.ts";
import { PARKED, PUT_BACK, type QueueHandler, type QueueWorker } from "./queue-handler.ts";
import { runQueueWorker } from "./run-queue-worker.ts";
import { OP } from "./testing-operations.ts";

const EINTR = 4;

class TestHandler implements QueueHandler {
  readonly #worker: QueueWorker;
  readonly #parked: { head: number; at: number }[] = [];

  constructor(worker: QueueWorker) {
    this.#worker = worker;
  }

  handle(chain: Chain): number {
    const { readable } = chain;
    // Requests of less than 4 bytes, and those whose first piece is no RAM, are echoed.
    if (readable.count === 0 || (readable.length[0] as number) < 4 || readable.place[0] !== PLACE.RAM)
      return echo(chain);
    const dv = new DataView(viewMemory(readable.address[0] as number, readable.length[0] as number));
    switch (dv.getUint32(0, true)) {
      case OP.PARK:
        this.#parked.push({ head: chain.head, at: performance.now() + dv.getUint32(8, true) });
        return PARKED;
      case OP.RELEASE:
        for (const parked of this.#parked) parked.at = 0;
        return 0;
      case OP.MAP:
      case OP.UNMAP:
      case OP.TRANSFER:
        return this.#window(chain, dv);
      case OP.PLACES:
        return places(chain);
      case OP.FAIL:
        throw new Error("a request that no guest may make");
      case OP.DIE:
        // Ends the thread only.
        return process.exit(1);
      default:
        return echo(chain);
    }
  }

  idle(): number {
    const now = performance.now();
    for (let i = this.#parked.length - 1; i >= 0; i--) {
      const { head, at } = this.#parked[i] as { head: number; at: number };
      if (at > now) continue;
      this.#parked.splice(i, 1);
      this.#worker.complete(head, echo(this.#worker.reopen(head)));
    }
    return this.#parked.length === 0 ? -1 : Math.max(0, Math.min(...this.#parked.map(({ at }) => at)) - now);
  }

  stopped(): void {
    this.#parked.length = 0;
  }

  #window(chain: Chain, dv: DataView): number {
    const { mapper } = this.#worker;
    const argument = (at: number): number => Number(dv.getBigUint64(at, true));
    const path = Buffer.from(dv.buffer, 40).toString("utf8").replace(/\0.*$/su, "");
    const fd = path === "" ? -1 : openSync(path, "r+");
    let result: number;
    switch (dv.getUint32(0, true)) {
      case OP.MAP:
        result = mapper.map(fd, argument(8), argument(16), argument(24), argument(32) !== 0);
        break;
      case OP.UNMAP:
        result = mapper.unmap(argument(16), argument(24));
        break;
      default:
        result = mapper.transfer(fd, argument(8), argument(16), argument(24), argument(32) !== 0);
    }
    if (fd >= 0) closeSync(fd);
    if (result === -EINTR) return PUT_BACK;
    const reply = new Int32Array(viewMemory(chain.writable.address[0] as number, 4));
    reply[0] = result;
    return 4;
  }
}

/** Copies what can be read to what can be written. */
function echo({ readable, writable }: Chain): number {
  if (!readable.isRam || !writable.isRam) return 0;
  let done = 0;
  let to = 0;
  let toAt = 0;
  for (let from = 0; from < readable.count; from++) {
    const length = readable.length[from] as number;
    for (let at = 0; at < length && to < writable.count; ) {
      const step = Math.min(length - at, (writable.length[to] as number) - toAt);
      copyMemory((writable.address[to] as number) + toAt, (readable.address[from] as number) + at, step);
      done += step;
      at += step;
      toAt += step;
      if (toAt === writable.length[to]) {
        to++;
        toAt = 0;
      }
    }
  }
  return done;
}

/** Writes where the readable pieces lie: place, address, length as doubles. */
function places({ readable, writable }: Chain): number {
  const reply = new Float64Array(viewMemory(writable.address[0] as number, readable.count * 24));
  for (let i = 0; i < readable.count; i++) {
    reply[i * 3] = readable.place[i] as number;
    reply[i * 3 + 1] = readable.address[i] as number;
    reply[i * 3 + 2] = readable.length[i] as number;
  }
  return reply.byteLength;
}

runQueueWorker((worker) => new TestHandler(worker));
