/** Works on the queue. */
export { convertOne } from "./convert-one.ts";
export { Worker, type WorkerOptions } from "./worker.ts";
