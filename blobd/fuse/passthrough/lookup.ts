import { EntryOut } from "../../../formats/fuse/index.ts";
import type { FuseRequest } from "../request.ts";
import { ENOENT, ESTALE } from "./linux.ts";
import { firstName } from "./names.ts";
import { replyAbsent, replyEntry, room } from "./reply.ts";
import type { Volume } from "./volume.ts";

/** LOOKUP. */
export function lookup(volume: Volume, request: FuseRequest): number {
  const bad = firstName(request) || room(request, EntryOut.size);
  if (bad !== 0) return bad;
  const parent = volume.nodes.pin(request.nodeId);
  if (parent === 0) return -ESTALE;
  const slot = volume.lookup(parent, request.name);
  let status = slot;
  if (slot > 0) status = replyEntry(volume, request, slot, parent);
  else if (slot === -ENOENT && hasNegativeTimeout(volume)) status = replyAbsent(volume, request);
  volume.nodes.unpin(parent);
  return status;
}

function hasNegativeTimeout({ settings }: Volume): boolean {
  return settings.negativeSeconds !== 0 || settings.negativeNanos !== 0;
}
