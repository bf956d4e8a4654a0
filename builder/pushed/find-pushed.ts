import {
  type ConvertedImage,
  DEFAULT_RETRY,
  type Environment,
  findConverted,
  type RetryPolicy,
} from "../../blobd/registry/index.ts";
import type { RegistrySpec } from "../names/index.ts";

export interface FindOptions {
  readonly retry?: Partial<RetryPolicy>;
  readonly env?: Environment;
  readonly signal: AbortSignal;
  /** Take what is attached to an image that is named by digest. */
  readonly trustReferrers?: boolean;
  /** Take an image of several file systems, too. */
  readonly stacks?: boolean;
  /** Told why a converted form that was there was not taken. */
  readonly onRefused?: (reason: string) => void;
}

/**
 * The converted form of what a source names; undefined when there is none that can be used.
 * @throws SourceError when the image itself is not found
 */
export function findPushed(spec: RegistrySpec, options: FindOptions): Promise<ConvertedImage | undefined> {
  const { retry, env = process.env, signal, trustReferrers, stacks, onRefused } = options;
  return findConverted(
    {
      reference: spec.reference,
      platform: spec.platform,
      ...(spec.plainHttp !== undefined && { plainHttp: spec.plainHttp }),
      ...(trustReferrers && { trustReferrers }),
      ...(stacks && { stacks }),
      ...(onRefused && { onRefused }),
    },
    { env, retry: { ...DEFAULT_RETRY, ...retry }, signal },
  );
}
