import { formOf, type Results } from "./results.ts";
import { FORM } from "./throughput.ts";

/** Something that was wanted, and what was found. `value` is to be `limit` or less. */
export interface Target {
  readonly wanted: string;
  readonly value: number;
  readonly limit: number;
}

/** An incremental version may add so much of what has changed. */
const INCREMENT = 1.2;
/** The job may take so much of what the same takes by hand. */
const END_TO_END = 1.3;

/** What the project wants of images in registries. */
export function targetsOf({ images = [], versions, jobs, trees }: Results): Target[] {
  const targets: Target[] = images.map((image) => ({
    wanted: `${image.id}: pushed, no larger than the tar.gz it came from`,
    value: formOf(image, FORM.push).bytes! / image.tarBytes,
    limit: 1,
  }));
  if (versions !== undefined) {
    const later = versions.slice(1);
    const most = (of: (version: (typeof later)[number]) => number) => Math.max(...later.map(of));
    targets.push({
      wanted: "a version adds to the registry at most 1.2 of its changed files, as tar.zst",
      value: most((one) => one.addedWithDictionaryBytes / one.changedPackedBytes),
      limit: INCREMENT,
    });
  }
  if (jobs !== undefined) {
    const wanted = "from push to converted form: within 1.3 of conversion and push by hand";
    targets.push({ wanted, value: jobs.endToEnd / (jobs.convert + jobs.push), limit: END_TO_END });
  }
  if (trees !== undefined)
    targets.push({ wanted: "hash tree: veritysetup format's time", value: trees.ours / trees.veritysetup, limit: 1 });
  return targets;
}

export function isMet({ value, limit }: Target): boolean {
  return value <= limit;
}
