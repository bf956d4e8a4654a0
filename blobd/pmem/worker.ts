import { runQueueWorker } from "../vhost/index.ts";
import { makePmemQueue } from "./queue.ts";

runQueueWorker(makePmemQueue);
