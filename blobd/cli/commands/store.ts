import { defaultStoreRoot, Store } from "../../store/index.ts";
import { parseBytes } from "../numbers.ts";

export interface StoreCommandOptions {
  readonly store?: string;
  readonly json?: boolean;
}

/** A blob of the store, complete or not. */
interface Row {
  readonly name: string;
  readonly state: "complete" | "partial";
  /** In bytes; of the content. */
  readonly size: number;
  /** In bytes. */
  readonly present: number;
}

/** `blobd store ls`. */
export async function list(options: StoreCommandOptions): Promise<void> {
  await withStore(options, async (store) => {
    const rows: Row[] = [
      ...store.listBlobs().map((name): Row => {
        const size = store.blobSize(name);
        return { name, state: "complete", size, present: size };
      }),
      ...store.partials.list().map(({ contentHex, size, chunks, presentChunks }): Row => {
        const present = chunks === 0 ? 0 : Math.round((size * presentChunks) / chunks);
        return { name: contentHex, state: "partial", size, present };
      }),
    ];
    if (options.json) print(rows);
    else for (const { name, state, size, present } of rows) write(`${name} ${state} ${present} of ${size} bytes\n`);
  });
}

/** `blobd store verify`: reads everything and compares it with its digests. Damaged blobs and chunks are given up. */
export async function verify(options: StoreCommandOptions): Promise<void> {
  await withStore(options, async (store) => {
    const corrupt: string[] = [];
    let inUse = 0;
    let chunks = 0;
    for (const name of store.listBlobs()) if ((await store.verifyBlob(name)) === "corrupt") corrupt.push(name);
    for (const { key } of store.partials.list()) {
      const damaged = await store.partials.verify(key);
      if (damaged === undefined) inUse++;
      else chunks += damaged;
    }
    if (options.json) print({ corruptBlobs: corrupt, damagedChunks: chunks, partialBlobsInUse: inUse });
    else {
      for (const name of corrupt) write(`${name} was corrupt, and is removed\n`);
      write(`${corrupt.length} blobs and ${chunks} chunks were damaged; ${inUse} partial blobs are in use\n`);
    }
    if (corrupt.length + chunks > 0) process.exitCode = 1;
  });
}

/** `blobd store prune`: makes the store small enough. */
export async function prune(options: StoreCommandOptions & { readonly maxSize: string }): Promise<void> {
  const maxBytes = parseBytes("--max-size", options.maxSize);
  await withStore(options, async (store) => {
    const result = await store.evict({ maxBytes });
    if (options.json) print(result);
    else write(`${result.freedBytes} bytes freed, ${result.keptBytes} stay\n`);
  });
}

async function withStore(options: StoreCommandOptions, work: (store: Store) => Promise<void>): Promise<void> {
  const store = await Store.open(options.store ?? defaultStoreRoot());
  try {
    await work(store);
  } finally {
    store.close();
  }
}

function print(value: unknown): void {
  write(`${JSON.stringify(value, null, 2)}\n`);
}

function write(text: string): void {
  process.stdout.write(text);
}
