/** A worker thread that converts layers, several at a time. Started by layer-converter.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { Store } from "../../blobd/store/index.ts";
import { type FromConverter, serveJob, type ToConverter } from "./layer-messages.ts";

/** What a worker is started with. */
export interface WorkerSettings {
  readonly storeRoot: string;
}

if (parentPort !== null) await serve(parentPort, workerData as WorkerSettings);

async function serve(port: NonNullable<typeof parentPort>, settings: WorkerSettings): Promise<void> {
  const post = (message: FromConverter) => port.postMessage(message.type === "done" ? withoutTree(message) : message);
  const store = await Store.open(settings.storeRoot, { onWarning: (message) => post({ type: "warning", message }) });
  const abort = new AbortController();
  port.on("message", (message: ToConverter) => {
    if (message.type === "abort") abort.abort(new Error("interrupted"));
    else if (message.type === "close") {
      store.close();
      // Ends this thread at once: connections kept alive for another request would hold it for a while.
      process.exit();
    } else void serveJob(store, message.job, post, abort.signal);
  });
}

/** A tree is cheaper read back from the store than cloned on its way between threads. */
function withoutTree(message: FromConverter & { readonly type: "done" }): FromConverter {
  const { key, record, cached } = message.layer;
  return { ...message, layer: { key, record, cached } };
}
