import { type Conversion, referenceText } from "./conversion.ts";

/** One image to make of a source. */
export interface PushTarget {
  /** `linux/amd64`; null: this machine's, of a source that does not tell. */
  readonly platform: string | null;
  /** `registry/repository:tag`; of one that is attached, its source's. */
  readonly reference: string;
}

/**
 * Where the converted images of a source go. As tags, one platform has the target tag; of several, each has it with its platform
 * behind: `1.2-erofs-linux-arm64`. An index holds them all.
 */
export function pushTargets(
  conversion: Pick<Conversion, "registry" | "repository" | "digest" | "form" | "targetTag" | "platforms">,
): PushTarget[] {
  const { registry, repository, digest, form, targetTag, platforms } = conversion;
  const isEachTagged = form === "tag" && platforms.length > 1;
  const suffix = (platform: string | null) => (isEachTagged ? `-${platform!.replaceAll("/", "-")}` : "");
  const all = platforms.length === 0 ? [null] : platforms;
  return all.map((platform) => ({
    platform,
    reference:
      form === "referrer"
        ? referenceText({ registry, repository, digest })
        : referenceText({ registry, repository, tag: `${targetTag}${suffix(platform)}` }),
  }));
}
