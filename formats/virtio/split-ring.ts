import { struct } from "../bytes/index.ts";

/**
 * A split virtqueue. Virtio 1.3, section 2.7. All little-endian.
 *
 * ```
 *  descriptors   size × Desc                                  driver writes; aligned to 16
 *  available     flags u16 │ idx u16 │ size × u16 │ used_event u16       driver writes; aligned to 2
 *  used          flags u16 │ idx u16 │ size × UsedElem │ avail_event u16 device writes; aligned to 4
 * ```
 * `idx` counts on through 65535 to 0; entry `idx % size` is the next to be written.
 */
export const Desc = struct("virtq_desc", 16, { addr: "u53", len: "u32", flags: "u16", next: "u16" });

export const DescFlag = {
  /** Another descriptor follows, at `next`. */
  NEXT: 1,
  /** The device writes it, else it reads. */
  WRITE: 2,
  /** It holds a table of descriptors. */
  INDIRECT: 4,
} as const;

export const UsedElem = struct("virtq_used_elem", 8, { id: "u32", len: "u32" });

/** Where the parts of the available and the used ring lie, in bytes. */
export const RING_FLAGS = 0;
export const RING_INDEX = 2;
export const RING_ENTRIES = 4;

/** `virtq_avail.flags`: the driver wants no notification. */
export const AVAIL_NO_INTERRUPT = 1;
/** `virtq_used.flags`: the device wants no notification. */
export const USED_NO_NOTIFY = 1;

export const DESC_ALIGN = 16;
export const AVAIL_ALIGN = 2;
export const USED_ALIGN = 4;

/** Largest queue size, in descriptors; sizes are powers of two. */
export const MAX_QUEUE_SIZE = 32768;

export function isQueueSize(size: number): boolean {
  return Number.isInteger(size) && size >= 1 && size <= MAX_QUEUE_SIZE && (size & (size - 1)) === 0;
}

/** Bytes of each part, with the event field at the end of the rings. */
export const descTableBytes = (size: number): number => size * Desc.size;
export const availRingBytes = (size: number): number => RING_ENTRIES + size * 2 + 2;
export const usedRingBytes = (size: number): number => RING_ENTRIES + size * UsedElem.size + 2;

/** `used_event` is the last of the available ring, `avail_event` the last of the used ring. */
export const usedEventAt = (size: number): number => RING_ENTRIES + size * 2;
export const availEventAt = (size: number): number => RING_ENTRIES + size * UsedElem.size;

/**
 * Whether the other side wants to be told: it asked for an event when the index passes `event`, which has gone from `old`
 * to `now`. `vring_need_event`, virtio 1.3, section 2.7.7.2.
 */
export function needEvent(event: number, now: number, old: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - old) & 0xffff);
}
