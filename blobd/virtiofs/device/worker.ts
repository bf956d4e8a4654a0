import { runQueueWorker } from "../../vhost/index.ts";
import { makeQueue } from "./queue-program.ts";

runQueueWorker(makeQueue);
