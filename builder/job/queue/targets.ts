import { referenceText } from "./conversion.ts";

/** One image to make of a source. */
export interface PushTarget {
  /** `linux/amd64`; null: this machine's, of a source that does not tell. */
  readonly platform: string | null;
  /** `registry/repository:tag`. */
  readonly reference: string;
}

/**
 * Where the converted images of a source go. One platform has the target tag; of several, each has it with its platform
 * behind: `1.2-erofs-linux-arm64`.
 */
export function pushTargets(
  registry: string,
  repository: string,
  targetTag: string,
  platforms: readonly string[],
): PushTarget[] {
  const reference = (tag: string) => referenceText({ registry, repository, tag });
  if (platforms.length <= 1) return [{ platform: platforms[0] ?? null, reference: reference(targetTag) }];
  return platforms.map((platform) => ({
    platform,
    reference: reference(`${targetTag}-${platform.replaceAll("/", "-")}`),
  }));
}
