import { type MessagePort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { HandlerFactory } from "./queue-handler.ts";
import { QueueRunner } from "./queue-runner.ts";
import type { WorkerCommand, WorkerStart } from "./worker-commands.ts";

/** What the thread of a queue is started with. */
export interface ThreadStart extends WorkerStart {
  readonly port: MessagePort;
}

/** Serves a queue on this thread until the data plane ends it: the last statement of a WorkerProgram's module. */
export function runQueueWorker(factory: HandlerFactory): void {
  const { port, ...start } = workerData as ThreadStart;
  const commands = {
    receive: () => receiveMessageOnPort(port)?.message as WorkerCommand | undefined,
    report: (report: unknown) => port.postMessage(report),
  };
  try {
    new QueueRunner(start, commands, factory).run();
  } finally {
    port.close();
  }
}
