import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** How much is received between two minor collections. */
const COLLECT_EVERY_BYTES = 8 << 20;

type CollectGarbage = (options: { readonly type: "minor" }) => void;

let collect: CollectGarbage | undefined;
let received = 0;

/**
 * Told of every piece received from the network. Each lies in a buffer of 64 KiB outside V8's heap; V8 counts those and
 * answers with a full collection every 14 MB or so, although they all die young. A minor collection in time frees them
 * for a fraction of that: a download with its conversion takes a tenth less processor time.
 */
export function receivedYoung(bytes: number): void {
  received += bytes;
  if (received < COLLECT_EVERY_BYTES) return;
  received = 0;
  collect ??= garbageCollector();
  collect({ type: "minor" });
}

/** V8's `gc` function, which Node.js shows to whoever asks for it. */
function garbageCollector(): CollectGarbage {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("globalThis.gc") as CollectGarbage | undefined;
  setFlagsFromString("--no-expose-gc");
  return gc ?? (() => {});
}
