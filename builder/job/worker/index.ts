/** Works on the queue. */
export { Worker, type WorkerOptions } from "./worker.ts";
