import { workerData } from "node:worker_threads";
import type { HandlerFactory } from "./queue-handler.ts";
import { QueueRunner } from "./queue-runner.ts";
import type { WorkerStart } from "./worker-commands.ts";

/** Serves a queue on this thread until the data plane ends it: the last statement of a WorkerProgram's module. */
export function runQueueWorker(factory: HandlerFactory): void {
  const start = workerData as WorkerStart;
  try {
    new QueueRunner(start, factory).run();
  } finally {
    start.port.close();
  }
}
