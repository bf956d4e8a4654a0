import { TAG_BYTES } from "../../../formats/virtio/index.ts";
import { RANGE_BYTES } from "../../fuse/index.ts";
import type { ServedConfig } from "../../fuse/root/index.ts";
import { MAX_WINDOW_BYTES } from "../window/index.ts";
import { checkGuestMemory, type GuestMemoryFile } from "./guest-files.ts";

/** Request queues at most: as many as a guest's processors are ever worth. */
export const MAX_QUEUES = 64;
/** Window of a device that has one, when nothing else is said: 18 MB of guest memory. */
export const DEFAULT_WINDOW_BYTES = 1 << 30;

/** A virtio-fs device: what it serves and how a guest sees it. A plain description. */
export interface VirtiofsOptions {
  /** By this the guest mounts it: 1 to 36 bytes. */
  readonly tag: string;
  /** Request queues, each with a thread of its own. */
  readonly queues: number;
  /** Size of the DAX window, a multiple of 2 MiB; 0 for a device without. */
  readonly windowBytes: number;
  readonly volume: ServedConfig;
  /** Files that the guest has as memory of which the VMM tells no other device, such as images as virtio-pmem. */
  readonly guestMemory: readonly GuestMemoryFile[];
}

/** @throws RangeError for a device that there is none of; the volume's settings are checked when it is opened */
export function checkOptions({ tag, queues, windowBytes, guestMemory }: VirtiofsOptions): void {
  const bytes = Buffer.byteLength(tag);
  if (bytes < 1 || bytes > TAG_BYTES || tag.includes("\0"))
    throw new RangeError(
      `tag ${JSON.stringify(tag)}: has ${bytes} bytes, expected 1 to ${TAG_BYTES}, none of them NUL`,
    );
  if (!(Number.isInteger(queues) && queues >= 1 && queues <= MAX_QUEUES))
    throw new RangeError(`queues: found ${queues}, expected 1 to ${MAX_QUEUES}`);
  if (windowBytes !== 0 && !(windowBytes > 0 && windowBytes <= MAX_WINDOW_BYTES && windowBytes % RANGE_BYTES === 0))
    throw new RangeError(
      `DAX window: found ${windowBytes} bytes, expected 0 or a multiple of ${RANGE_BYTES} up to ${MAX_WINDOW_BYTES}`,
    );
  checkGuestMemory(guestMemory);
}
