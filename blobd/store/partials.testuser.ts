/** A second process that fills a blob, for partials.system.test.ts. Says which chunks it fetched. */
import { setTimeout as sleep } from "node:timers/promises";
import { chunkOf, makeBlob } from "./partials-testing.ts";
import { Store } from "./store.ts";

/** After so many chunks it pauses for a while, if it is asked to: whoever kills it must not come too late. */
const CHUNKS_AT_ONCE = 20;

const [root, seed, chunks, order, pauseMs] = process.argv.slice(2) as [string, string, string, string, string];
const blob = makeBlob(Number(seed), Number(chunks));
const store = await Store.open(root);
const partial = await store.partials.open(blob);
if (partial !== undefined) {
  let random = Number(order);
  for (let turn = 1; ; turn++) {
    if (Number(pauseMs) > 0 && turn % CHUNKS_AT_ONCE === 0) await sleep(Number(pauseMs));
    const absent = [...Array(Number(chunks)).keys()].filter((chunk) => !partial.isPresent(chunk));
    if (absent.length === 0) break;
    random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    const chunk = absent[random % absent.length]!;
    if (!partial.tryClaim(chunk)) {
      await sleep(1);
      continue;
    }
    if (!partial.isPresent(chunk)) {
      process.send!({ fetching: chunk });
      await partial.put(chunk, chunkOf(blob, chunk));
      process.send!({ filled: chunk });
    }
    partial.release(chunk);
  }
  process.send!({ result: await store.partials.complete(partial) });
  partial.close();
}
store.close();
process.disconnect();
