/** A second user of a store, as a process or as a worker thread, for store.system.test.ts. Says what it does. */
import { parentPort, workerData } from "node:worker_threads";
import type { LayerRecord } from "./records.ts";
import { Store } from "./store.ts";

export type Task = "convert" | "hang" | "hold";
export interface Order {
  readonly root: string;
  readonly key: string;
  readonly task: Task;
}

const order: Order = workerData ?? JSON.parse(process.argv[2]!);
const say = (message: string): void => {
  if (parentPort) parentPort.postMessage(message);
  else process.send!(message);
};
/** For as long as the process lives. */
const forever = (): Promise<never> => new Promise(() => setInterval(() => {}, 60_000));

async function convert(store: Store): Promise<LayerRecord> {
  say("converting");
  const writer = store.createBlob();
  for (let i = 0; i < 20; i++) if (writer.write(Buffer.alloc(1024 * 1024, i))) await writer.drain();
  if (order.task === "hang") {
    say("hanging");
    await forever();
  }
  const { digestHex, size, blocks } = (await writer.finish())!;
  const file = { digestHex, size, blocks };
  const record = { layerDigest: `sha256:${order.key}`, meta: file, blob: file, stats: {} };
  store.putLayer(order.key, record);
  return record;
}

const store = await Store.open(order.root);
if (order.task === "hold") {
  say("holding");
  await forever();
}
await store.withLayerLock(order.key, async () => (await store.getLayer(order.key)) ?? convert(store));
store.close();
say("done");
