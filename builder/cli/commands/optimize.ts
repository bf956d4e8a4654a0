import { writeFileSync } from "node:fs";
import { defaultStoreRoot } from "../../../blobd/store/index.ts";
import { formatPrefetchList } from "../../../formats/oci/index.ts";
import { optimizeImage } from "../../image/index.ts";
import { warn } from "../exit.ts";
import { onInterrupt } from "../interrupt.ts";
import { writeLines, writeOut } from "../ui/output.ts";
import { formatBytes } from "../ui/units.ts";
import { readPrefetchList } from "./prefetch-file.ts";

export interface OptimizeCommandOptions {
  readonly trace: string;
  readonly output?: string;
  readonly store?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

export async function run(target: string, options: OptimizeCommandOptions): Promise<void> {
  const trace = readPrefetchList("--trace", options.trace);
  const interrupt = onInterrupt();
  try {
    const storeRoot = options.store ?? defaultStoreRoot();
    const result = await optimizeImage(target, { storeRoot, trace, signal: interrupt.signal });
    const { record, key, hotBytes, pieces, strangers } = result;
    if (strangers.length > 0)
      warn(`${options.trace}: ${strangers.length} of its blobs are not of ${target}, such as ${strangers[0]}`);
    if (options.output !== undefined) writeFileSync(options.output, `${formatPrefetchList(result.trace)}\n`);
    if (options.json)
      await writeLines([
        JSON.stringify({ image: key, meta: record.meta, blobs: record.blobs, hotBytes, pieces, strangers }, null, 2),
      ]);
    else if (!options.quiet)
      await writeOut(`${target}: ${pieces} files and parts of files, ${formatBytes(hotBytes)}, lie first now\n`);
  } finally {
    interrupt.dispose();
  }
}
