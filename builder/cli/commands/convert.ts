import { statSync } from "node:fs";
import { dirname } from "node:path";
import { defaultStoreRoot } from "../../../blobd/store/index.ts";
import { exportDirectory, exportSingle } from "../../image/index.ts";
import { UsageError } from "../exit.ts";
import { onInterrupt } from "../interrupt.ts";
import { writeLines, writeOut } from "../ui/output.ts";
import { createProgress } from "../ui/progress.ts";
import { parseBytes } from "../ui/units.ts";
import { jsonResult, singleText, textResult } from "./convert-result.ts";
import { type FormOptions, obtainImage } from "./obtain.ts";
import { type SourceCommandOptions, sourceOf } from "./source.ts";

export interface ConvertCommandOptions extends SourceCommandOptions, FormOptions {
  readonly output?: string;
  readonly single?: string;
  readonly jobs?: string;
  readonly threads?: string;
  readonly inlineTails?: boolean;
  readonly verity?: boolean;
  readonly dict?: readonly string[];
  readonly maxLayerSize?: string;
  /** Send the result to a registry; `to` and `as` are those of `push`. */
  readonly push?: boolean;
  readonly to?: string;
  readonly as?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly store?: string;
}

export async function run(ref: string, options: ConvertCommandOptions): Promise<void> {
  const spec = sourceOf(ref, options);
  const storeRoot = options.store ?? defaultStoreRoot();
  const convertOptions = {
    storeRoot,
    layer: { inlineTails: options.inlineTails ?? false, verity: options.verity ?? false },
    ...(options.dict !== undefined && { dictionary: options.dict }),
    ...(options.jobs !== undefined && { jobs: parseCount("--jobs", options.jobs) }),
    ...(options.threads !== undefined && { threads: parseCount("--threads", options.threads) }),
    ...(options.maxLayerSize !== undefined && { maxBlobBytes: parseBytes(options.maxLayerSize, "--max-layer-size") }),
  };
  checkTargets(options);
  const push = options.push ? await preparePush(ref, options) : undefined;
  const progress = await createProgress({ quiet: options.quiet ?? false, stream: process.stderr });
  const interrupt = onInterrupt();
  const { signal } = interrupt;
  // What is pushed was made here.
  const form = push === undefined ? options : { fromSource: true };
  try {
    const obtained = await obtainImage(spec, { ...convertOptions, onProgress: progress.listener, signal }, form);
    progress.stop();
    const { record } = obtained.result;
    const exported: string[] = [];
    if (options.output !== undefined) exported.push(await exportDirectory(storeRoot, record, options.output, signal));
    const single = options.single && (await exportSingle(storeRoot, record, options.single, signal, options));
    if (single) exported.push(single.path);
    const pushed = await push?.(obtained.result.key);
    const json = () => ({
      ...jsonResult(obtained, storeRoot, exported),
      ...(single && { single }),
      ...(pushed && { pushed: pushed.result }),
    });
    if (options.json) await writeLines([JSON.stringify(json(), null, 2)]);
    else if (!options.quiet)
      await writeOut(
        textResult(obtained, storeRoot, exported) + (single ? singleText(single) : "") + (pushed?.text ?? ""),
      );
  } finally {
    progress.stop();
    interrupt.dispose();
  }
}

/** Finds out before the work whether it can be pushed; what comes back does it. @throws UsageError */
async function preparePush(ref: string, options: ConvertCommandOptions) {
  if (options.inlineTails)
    throw new UsageError("--push and --inline-tails exclude each other: registries get file data in blobs");
  // Loaded when it is used.
  const { planPush, push, pushText } = await import("./push.ts");
  const plan = planPush(ref, { ...options, compression: "zstd" });
  return async (key: string) => {
    const result = await push(plan, key);
    return { result, text: pushText(result) };
  };
}

/** Finds out before the work, not after it, that its result has no place to go to. */
function checkTargets({ output, single, push, to, as }: ConvertCommandOptions): void {
  if (!push && (to !== undefined || as !== undefined)) throw new UsageError("--to and --as say where to --push");
  const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory();
  if (output !== undefined && isFolder(output) === false)
    throw new UsageError(`--output ${output}: is a file, expected a folder or nothing`);
  if (single === undefined) return;
  if (isFolder(single)) throw new UsageError(`--single ${single}: is a folder, expected a file or nothing`);
  if (!isFolder(dirname(single))) throw new UsageError(`--single ${single}: there is no folder ${dirname(single)}`);
}

function parseCount(option: string, text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 256)
    throw new UsageError(`${option} ${text}: expected a number from 1 to 256`);
  return count;
}
