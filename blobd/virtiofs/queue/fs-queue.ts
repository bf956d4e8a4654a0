import { InHeader } from "../../../formats/fuse/index.ts";
import {
  type FileSystem,
  PARKED as FUSE_PARKED,
  FuseServer,
  NO_REPLY,
  OUT_ARGS,
  type ParkedReply,
} from "../../fuse/index.ts";
import {
  type Chain,
  PARKED,
  PUT_BACK,
  type QueueHandler,
  type QueueWorker,
  type ShmemMapper,
} from "../../vhost/index.ts";
import type { WindowMemory } from "./guest-memory.ts";
import type { ReadOnlyMemory } from "./read-only-memory.ts";
import { Transport } from "./transport.ts";

const EINTR = 4;
/** How long a request waits that was put back, in ms. */
const PUT_BACK_MS = 1;

export interface FsQueueOptions {
  readonly worker: QueueWorker;
  readonly fileSystem: FileSystem;
  /** The session's words: `ServerOptions.session`. */
  readonly session: Int32Array;
  /** Null for a device without a window. */
  readonly window: (WindowMemory & { forgetAll(): void }) | null;
  /** The mapper that the window uses, so that a request during which it was told to stop is put back. */
  readonly mapper: NotingMapper;
  /** Memory of the guest that the front-end does not show, for what it asks to be written. */
  readonly guestFiles: ReadOnlyMemory;
  readonly log: (line: string) => void;
  /** What to do while no queue is to be served: QueueHandler.prepare. */
  readonly prepare?: (isAsked: () => boolean) => void;
  /** Told whenever the queue is empty: a rehearsal's, which has nothing else that differs from a guest's queue. */
  readonly emptied?: () => void;
}

/** Serves a virtqueue of a virtio-fs device: requests, or those of high priority (FORGET, INTERRUPT), which are no others. */
export class FsQueue implements QueueHandler {
  readonly #worker: QueueWorker;
  readonly #fileSystem: FileSystem;
  readonly #server: FuseServer;
  readonly #transport: Transport;
  readonly #window: FsQueueOptions["window"];
  readonly #mapper: NotingMapper;
  /** Requests whose reply is owed, by the heads of their chains. */
  readonly #parked = new Map<number, Parked>();
  /** Heads of parked requests that were to be handled again while some queue was being stopped: later. */
  readonly #putBack: number[] = [];
  readonly #prepare: FsQueueOptions["prepare"];
  readonly #emptied: FsQueueOptions["emptied"];
  #head = 0;

  constructor(options: FsQueueOptions) {
    this.#prepare = options.prepare;
    this.#emptied = options.emptied;
    this.#worker = options.worker;
    this.#fileSystem = options.fileSystem;
    this.#window = options.window;
    this.#mapper = options.mapper;
    this.#server = new FuseServer(options.fileSystem, {
      session: options.session,
      hasWindow: options.window !== null,
      log: options.log,
    });
    this.#transport = new Transport(options.window, options.mapper, options.guestFiles);
    this.#transport.request.park = () => this.#park();
  }

  handle(chain: Chain): number {
    const transport = this.#transport;
    this.#head = chain.head;
    this.#mapper.wasInterrupted = false;
    let status = transport.take(chain);
    if (status === 0) status = this.#server.handle(transport.request);
    if (this.#mapper.wasInterrupted) {
      this.#parked.delete(chain.head);
      return PUT_BACK;
    }
    if (status === FUSE_PARKED) return PARKED;
    if (status === NO_REPLY || chain.writable.bytes < OUT_ARGS) return 0;
    return transport.reply(chain, status);
  }

  idle(): number {
    if (this.#putBack.length > 0) for (const head of this.#putBack.splice(0)) this.#handleAgain(head);
    const ms = this.#server.resume();
    this.#emptied?.();
    return this.#putBack.length > 0 ? PUT_BACK_MS : ms;
  }

  prepare(isAsked: () => boolean): void {
    this.#prepare?.(isAsked);
  }

  stopped(): void {
    this.#putBack.length = 0;
    // They come again, if at all, from the ring: whoever waits for them now is told that nobody asks any more.
    const owed = [...this.#parked.values()];
    this.#parked.clear();
    for (const { unique } of owed) this.#fileSystem.interrupt?.(unique);
  }

  reset(): void {
    this.stopped();
    this.#window?.forgetAll();
    if (this.#server.session.isStarted) {
      this.#server.session.end();
      this.#fileSystem.destroy();
    }
  }

  close(): void {
    this.#transport.close();
  }

  #park(): ParkedReply {
    const head = this.#head;
    const { request } = this.#transport;
    // Not when it was given up by `stopped`: then somebody else may have the head.
    const isOwed = () => this.#parked.get(head) === parked && this.#parked.delete(head);
    const parked = new Parked(
      request.in,
      (status) => {
        if (!isOwed()) return;
        this.#worker.complete(head, this.#transport.replyLate(this.#worker.reopen(head), parked.uniqueBytes, status));
      },
      () => {
        if (isOwed()) this.#handleAgain(head);
      },
    );
    this.#parked.set(head, parked);
    return parked;
  }

  #handleAgain(head: number): void {
    const result = this.handle(this.#worker.reopen(head));
    if (result >= 0) this.#worker.complete(head, result);
    else if (result === PUT_BACK) this.#putBack.push(head);
  }
}

class Parked implements ParkedReply {
  readonly unique: bigint;
  /** Its `unique` once more, as bytes. */
  readonly uniqueBytes = new DataView(new ArrayBuffer(8));
  readonly finish: (status: number) => void;
  readonly again: () => void;

  constructor(header: DataView, finish: (status: number) => void, again: () => void) {
    this.unique = header.getBigUint64(InHeader.at.unique, true);
    this.uniqueBytes.setBigUint64(0, this.unique, true);
    this.finish = finish;
    this.again = again;
  }
}

/**
 * The worker's mapper of the moment (it is another one with each connection), which notes when it was told to stop: the
 * request that it worked for is then put back, whatever came of it.
 */
export class NotingMapper implements ShmemMapper {
  wasInterrupted = false;
  readonly #worker: { readonly mapper: ShmemMapper };

  constructor(worker: { readonly mapper: ShmemMapper }) {
    this.#worker = worker;
  }

  map(fd: number, fdOffset: number, shmOffset: number, bytes: number, writable: boolean): number {
    return this.#note(this.#worker.mapper.map(fd, fdOffset, shmOffset, bytes, writable));
  }

  unmap(shmOffset: number, bytes: number): number {
    return this.#note(this.#worker.mapper.unmap(shmOffset, bytes));
  }

  unmapAll(): number {
    return this.#note(this.#worker.mapper.unmapAll());
  }

  transfer(fd: number, fdOffset: number, guestAddress: number, bytes: number, toGuest: boolean): number {
    return this.#note(this.#worker.mapper.transfer(fd, fdOffset, guestAddress, bytes, toGuest));
  }

  #note(status: number): number {
    if (status === -EINTR) this.wasInterrupted = true;
    return status;
  }
}
