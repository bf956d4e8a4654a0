import { ServiceError } from "./grpc/index.ts";
import { GID_MAPPING, UID_MAPPING } from "./mount-plan.ts";

/** Most ranges in a mapping: the kernel takes 340. */
const MAX_RANGES = 340;
const MAX_ID = 0xffff_fffe;

/** The host's ids of a container's root. */
export interface RootIds {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Whose files a container's root creates, by the mappings in a snapshot's labels (`container:host:length`, comma
 * separated); null without any.
 * @throws ServiceError invalid argument for mappings that are none, or have no root
 */
export function mappedRoot(labels: Readonly<Record<string, string>>): RootIds | null {
  const uids = labels[UID_MAPPING];
  const gids = labels[GID_MAPPING];
  if (uids === undefined && gids === undefined) return null;
  return { uid: hostRoot(uids, UID_MAPPING), gid: hostRoot(gids, GID_MAPPING) };
}

function hostRoot(mapping: string | undefined, label: string): number {
  const ranges = (mapping ?? "").split(",");
  if (ranges.length > MAX_RANGES)
    throw new ServiceError("invalid argument", `${label}: found ${ranges.length} ranges, at most ${MAX_RANGES}`);
  let root: number | undefined;
  for (const range of ranges) {
    const [inside, outside, length, ...more] = range.split(":").map((text) => (/^\d{1,10}$/.test(text) ? +text : -1));
    const isRange =
      more.length === 0 && inside! >= 0 && outside! >= 0 && length! > 0 && outside! + length! <= MAX_ID + 1;
    if (!isRange)
      throw new ServiceError(
        "invalid argument",
        `${label}: found ${JSON.stringify(range)}, expected inside:host:length`,
      );
    if (inside === 0) root = outside;
  }
  if (root === undefined) throw new ServiceError("invalid argument", `${label}: ${mapping} maps no root`);
  return root;
}
