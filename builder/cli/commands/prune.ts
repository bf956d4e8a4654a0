import { defaultStoreRoot, Store } from "../../../blobd/store/index.ts";
import { warn } from "../exit.ts";
import { formatBytes, parseBytes } from "../ui/units.ts";

export interface PruneCommandOptions {
  readonly maxSize?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly store?: string;
}

export async function run(options: PruneCommandOptions): Promise<void> {
  const pruneOptions = {
    ...(options.maxSize !== undefined && { maxBytes: parseBytes(options.maxSize, "--max-size") }),
    ...(options.dryRun && { dryRun: true }),
  };
  const store = await Store.open(options.store ?? defaultStoreRoot(), { onWarning: warn });
  try {
    const result = await store.prune(pruneOptions);
    if (options.json) {
      process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
      return;
    }
    const would = options.dryRun ? "would remove" : "removed";
    for (const image of result.images) process.stdout.write(`${would} ${image.references.join(", ")}\n`);
    process.stdout.write(
      `${would} ${result.images.length} images, ${result.layers.length} layers, ${result.blobs.length} blobs: ${formatBytes(result.freedBytes)}; ${formatBytes(result.keptBytes)} stay\n`,
    );
  } finally {
    store.close();
  }
}
