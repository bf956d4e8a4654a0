import { FormatError } from "../../../formats/bytes/index.ts";
import { type ConvertOptions, type ConvertResult, convertImage } from "../../image/index.ts";
import type { RegistrySpec, SourceSpec } from "../../names/index.ts";
import { ImageError } from "../../open/index.ts";
import { type PullResult, pullImage } from "../../pull/index.ts";
import { findPushed } from "../../pushed/index.ts";
import { SourceError } from "../../sources/index.ts";

/** Options of commands that may take the converted form of an image in place of its source. */
export interface FormOptions {
  /** Convert the source, whatever forms of it the registry has. */
  readonly fromSource?: boolean;
  /** Take what is attached to an image that is named by digest. */
  readonly trustReferrers?: boolean;
}

export type Obtained =
  | { readonly kind: "converted"; readonly result: ConvertResult }
  | { readonly kind: "pulled"; readonly result: PullResult };

/**
 * The image in the store: its converted form fetched from the registry when there is one that fits the options, else converted
 * here from its source.
 * @throws SourceError and what conversions throw
 */
export async function obtainImage(spec: SourceSpec, options: ConvertOptions, form: FormOptions): Promise<Obtained> {
  // What others push is not laid out so, or not over the images that are here.
  const isOwnLayout = options.layer.inlineTails || options.dictionary !== undefined;
  if (spec.kind === "registry" && !form.fromSource && !isOwnLayout) {
    const result = await pullForm(spec, options, form);
    if (result !== undefined) return { kind: "pulled", result };
  }
  return { kind: "converted", result: await convertImage(spec, options) };
}

async function pullForm(
  spec: RegistrySpec,
  options: ConvertOptions,
  { trustReferrers }: FormOptions,
): Promise<PullResult | undefined> {
  const { onProgress = () => {}, storeRoot, jobs, maxBlobBytes, layer } = options;
  const signal = options.signal ?? new AbortController().signal;
  const onRetry = (reason: string) => onProgress({ type: "retry", index: null, reason });
  const found = await findPushed(spec, {
    signal,
    retry: { onRetry },
    stacks: true,
    ...(trustReferrers && { trustReferrers }),
    onRefused: (message) => onProgress({ type: "warning", message }),
  });
  if (found === undefined) return undefined;
  const refuse = (why: string): undefined => {
    if (found.how === "itself") throw new SourceError("ERR_UNSUPPORTED", `${found.manifestDigest}: ${why}`);
    onProgress({ type: "warning", message: `the converted form (${found.manifestDigest}) is not used: ${why}` });
  };
  const files = [...found.below, found.layers].flatMap(({ meta, devices }) => [meta, ...devices]);
  if (layer.verity && files.some(({ verity }) => verity === undefined))
    return refuse("it was pushed without hash trees");
  try {
    return await pullImage(spec, found, {
      storeRoot,
      signal,
      onProgress,
      ...(jobs !== undefined && { jobs }),
      ...(maxBlobBytes !== undefined && { maxBlobBytes }),
    });
  } catch (error) {
    const isImages = error instanceof SourceError || error instanceof FormatError || error instanceof ImageError;
    if (!isImages || found.how === "itself") throw error;
    return refuse(error.message);
  }
}
