/** A word of memory that threads share. */
export type SharedWord = Int32Array<SharedArrayBuffer>;

export function sharedWord(): SharedWord {
  return new Int32Array(new SharedArrayBuffer(4));
}

/**
 * How a data plane gets a worker's attention: an eventfd that wakes it, and words that cost a load to look at.
 *
 * `interrupts` is one for all workers: when a queue is being stopped, none may go on waiting for the front-end, which waits
 * for us. The worker that is to stop may itself wait for another, which holds what both want.
 */
export class WorkerSignal {
  /** eventfd. */
  readonly fd: number;
  /** Commands posted to this worker so far. */
  readonly posted: SharedWord;
  /** Commands posted to any worker that must not be kept waiting, and not obeyed yet. */
  readonly interrupts: SharedWord;

  constructor(fd: number, posted: SharedWord, interrupts: SharedWord) {
    this.fd = fd;
    this.posted = posted;
    this.interrupts = interrupts;
  }

  get commands(): number {
    return Atomics.load(this.posted, 0);
  }
  get isInterrupted(): boolean {
    return Atomics.load(this.interrupts, 0) !== 0;
  }
}
