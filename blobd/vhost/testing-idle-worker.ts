/** A device that does nothing, for the benchmark. Not part of the folder's door. */
import { runQueueWorker } from "./run-queue-worker.ts";

runQueueWorker(() => ({ handle: () => 16 }));
