import { fsConfig } from "../../../formats/virtio/index.ts";
import type { DeviceDescription } from "../../vhost/index.ts";
import type { LateData } from "./late-data.ts";
import type { VirtiofsOptions } from "./options.ts";
import type { WorkerData } from "./queue-program.ts";

/** Queue 0: requests of high priority. Those for requests follow. Virtio 1.3, section 5.11.2. */
const HIPRIO_QUEUES = 1;

/** The device as a front-end sees it. */
export function describeDevice(
  { tag, queues, windowBytes }: VirtiofsOptions,
  data: WorkerData | LateData | null,
): DeviceDescription {
  return {
    name: `virtiofs ${tag}`,
    maxQueues: HIPRIO_QUEUES + queues,
    features: 0n,
    config: fsConfig(tag, queues),
    windowBytes,
    worker: { module: new URL("./worker.js", import.meta.url).href, data },
  };
}
