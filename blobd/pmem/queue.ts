import { PMEM_REQ_FLUSH, PmemReq, PmemResp } from "../../formats/virtio/index.ts";
import { takeEvent, viewMemory } from "../sys/index.ts";
import { type Chain, type HandlerFactory, PLACE, type QueueHandler, type QueueWorker } from "../vhost/index.ts";
import { PLACED, WindowContents } from "./contents.ts";

const EINTR = 4;
const ENODEV = 19;
/** What a request is answered that is none. */
const REFUSED = 1;
/** After a mapping that was broken off for a command, in ms. */
const AGAIN_MS = 1;

/** What the queue's thread gets. */
export interface PmemWorkerData {
  readonly contents: SharedArrayBuffer;
  /** An eventfd: a file was added. */
  readonly addedFd: number;
}

/** Makes the handler of the device's one queue. */
export const makePmemQueue: HandlerFactory = (worker) => new PmemQueue(worker);

/**
 * The request queue of a memory device: flush is all that a guest asks, and is answered at once, for nothing that it writes is to
 * be kept. Between requests files are put into the window: when the queue starts, when one is added, and again after a reset.
 */
class PmemQueue implements QueueHandler {
  readonly #worker: QueueWorker;
  readonly #contents: WindowContents;
  /** How many files, in their order, have been asked for since the queue was started. */
  #asked = 0;
  /** Files that this front-end has had mapped. After a reset of the device it may have dropped them. */
  readonly #known = new Set<number>();

  constructor(worker: QueueWorker) {
    this.#worker = worker;
    const { contents, addedFd } = worker.data as PmemWorkerData;
    this.#contents = new WindowContents(contents);
    // It wakes the thread, which then looks in `idle`.
    worker.watch(addedFd, () => takeEvent(addedFd));
  }

  handle({ readable, writable }: Chain): number {
    if (writable.count === 0 || writable.place[0] !== PLACE.RAM || writable.length[0]! < PmemResp.size) return 0;
    new DataView(viewMemory(writable.address[0]!, PmemResp.size)).setUint32(
      0,
      this.#isFlush(readable) ? 0 : REFUSED,
      true,
    );
    return PmemResp.size;
  }

  idle(): number {
    this.#contents.setUsed(true);
    for (const count = this.#contents.count; this.#asked < count; this.#asked++) {
      const status = this.#place(this.#asked);
      if (status === -EINTR) return AGAIN_MS;
    }
    return -1;
  }

  stopped(): void {
    this.#contents.setUsed(false);
    this.#asked = 0;
  }
  reset(): void {
    this.#asked = 0;
    this.#known.clear();
  }

  #isFlush({ count, place, length, address }: Chain["readable"]): boolean {
    if (count === 0 || place[0] !== PLACE.RAM || length[0]! < PmemReq.size) return false;
    return new DataView(viewMemory(address[0]!, PmemReq.size)).getUint32(0, true) === PMEM_REQ_FLUSH;
  }

  #place(index: number): number {
    const contents = this.#contents;
    const range = [contents.fd(index), 0, contents.offset(index), contents.bytes(index), true] as const;
    const { mapper } = this.#worker;
    const status = this.#known.has(index) ? mapper.remap(...range) : mapper.map(...range);
    if (status === 0) {
      this.#known.add(index);
      contents.setState(index, PLACED.MAPPED);
    } else if (status === -ENODEV) contents.setState(index, PLACED.WANTED);
    else if (status !== -EINTR) contents.setState(index, PLACED.FAILED, -status);
    return status;
  }
}
