import { closeSync } from "node:fs";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { eventFd, signalEvent } from "../sys/index.ts";
import type { WorkerProgram } from "./device.ts";
import { interrupts, type WorkerCommand, type WorkerReport, type WorkerStart } from "./worker-commands.ts";
import { type SharedWord, sharedWord, WorkerSignal } from "./worker-signal.ts";

type Body<C> = C extends WorkerCommand ? Omit<C, "id"> : never;
interface Waiting {
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
  /** The process ends: a worker that sleeps in poll(2) would hold it up. */
  readonly #atExit = (): void => {
    this.#post({ kind: "quit" });
  };

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
    const start: WorkerStart = {
      queue,
      data: program.data,
      port: port2,
      signalFd: this.#signal.fd,
      posted: this.#signal.posted,
      interrupts: sharedInterrupts,
    };
    this.#worker = new Worker(new URL(program.module), { workerData: start, transferList: [port2] });
    port1.on("message", (report: WorkerReport) => {
      if ("broken" in report) onBroken(report.broken);
      else this.#settle(report);
    });
    this.#ended = new Promise((resolve) => {
      const end = (error: Error): void => {
        if (this.#dead !== null) return;
        this.#dead = error;
        for (const { reject } of this.#waiting.values()) reject(error);
        this.#waiting.clear();
      };
      this.#worker.once("error", (error) => {
        end(error);
        onDeath(error);
      });
      this.#worker.once("exit", () => {
        end(new Error("the queue's worker has ended"));
        process.off("exit", this.#atExit);
        port1.close();
        closeSync(this.#signal.fd);
        resolve();
      });
    });
    process.once("exit", this.#atExit);
  }

  /** Gives a command. @returns its result; rejected when it failed or the worker ended */
  tell(command: Body<WorkerCommand>): Promise<number> {
    if (this.#dead !== null) return Promise.reject(this.#dead);
    return new Promise((resolve, reject) => {
      this.#waiting.set(this.#post(command), { resolve, reject });
    });
  }

  /** Wakes the worker, wherever it waits. */
  wake(): void {
    if (this.#dead === null) signalEvent(this.#signal.fd);
  }

  /** Ends the worker. */
  async quit(): Promise<void> {
    if (this.#dead === null) this.#post({ kind: "quit" });
    await this.#ended;
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
