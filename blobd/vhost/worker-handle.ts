import { closeSync } from "node:fs";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { eventFd, signalEvent } from "../sys/index.ts";
import { atExit } from "./at-exit.ts";
import type { WorkerProgram } from "./device.ts";
import type { ThreadStart } from "./run-queue-worker.ts";
import { interrupts, type WorkerCommand, type WorkerReport } from "./worker-commands.ts";
import { type SharedWord, sharedWord, WorkerSignal } from "./worker-signal.ts";

type Body<C> = C extends WorkerCommand ? Omit<C, "id"> : never;
interface Waiting {
  readonly interrupts: boolean;
  readonly resolve: (value: number) => void;
  readonly reject: (error: Error) => void;
}

/** A queue's worker thread, from outside. */
export class WorkerHandle {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #signal: WorkerSignal;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #nextId = 0;
  #dead: Error | null = null;
  #isQuitting = false;
  readonly #forgetExit = atExit(() => {
    this.#post({ kind: "quit" });
  });

  /**
   * @param sharedInterrupts see WorkerSignal
   * @param onBroken the guest has broken the queue, which has stopped
   * @param onDeath the worker has ended by itself
   */
  constructor(
    queue: number,
    program: WorkerProgram,
    sharedInterrupts: SharedWord,
    onBroken: (reason: string) => void,
    onDeath: (error: Error) => void,
  ) {
    this.#signal = new WorkerSignal(eventFd(), sharedWord(), sharedInterrupts);
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const start: ThreadStart = {
      queue,
      data: program.data,
      port: port2,
      signalFd: this.#signal.fd,
      posted: this.#signal.posted,
      interrupts: sharedInterrupts,
    };
    this.#worker = new Worker(new URL(program.module), {
      workerData: start,
      transferList: [port2],
      // Its descriptors are opened by system calls that Node.js does not know of, which would warn of each that is closed.
      trackUnmanagedFds: false,
    });
    port1.on("message", (report: WorkerReport) => {
      if ("broken" in report) onBroken(report.broken);
      else this.#settle(report);
    });
    let failure = new Error("the queue's worker has ended");
    this.#worker.once("error", (error) => {
      failure = error;
    });
    this.#ended = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        this.#bury(failure);
        port1.close();
        closeSync(this.#signal.fd);
        if (!this.#isQuitting) onDeath(failure);
        resolve();
      });
    });
  }

  /** Gives a command. @returns its result; rejected when it failed or the worker ended */
  tell(command: Body<WorkerCommand>): Promise<number> {
    if (this.#dead !== null) return Promise.reject(this.#dead);
    return new Promise((resolve, reject) => {
      this.#waiting.set(this.#post(command), { interrupts: interrupts(command.kind), resolve, reject });
    });
  }

  /** Wakes the worker, wherever it waits. */
  wake(): void {
    if (this.#dead === null) signalEvent(this.#signal.fd);
  }

  /** Ends the worker. */
  async quit(): Promise<void> {
    this.#isQuitting = true;
    if (this.#dead === null) this.#post({ kind: "quit" });
    await this.#ended;
  }

  /** The worker is gone: nobody waits for it any longer, nor has to. */
  #bury(failure: Error): void {
    this.#dead = failure;
    this.#forgetExit();
    for (const waiting of this.#waiting.values()) {
      if (waiting.interrupts) Atomics.sub(this.#signal.interrupts, 0, 1);
      waiting.reject(failure);
    }
    this.#waiting.clear();
  }

  #post(command: Body<WorkerCommand>): number {
    const id = this.#nextId++;
    this.#port.postMessage({ ...command, id });
    if (interrupts(command.kind)) Atomics.add(this.#signal.interrupts, 0, 1);
    Atomics.add(this.#signal.posted, 0, 1);
    signalEvent(this.#signal.fd);
    return id;
  }

  #settle(report: Exclude<WorkerReport, { broken: string }>): void {
    const waiting = this.#waiting.get(report.id);
    this.#waiting.delete(report.id);
    if ("error" in report) waiting?.reject(new Error(report.error));
    else waiting?.resolve(report.value);
  }
}
