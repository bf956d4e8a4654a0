/** Feature bits that are no device's own. Virtio 1.3, section 6. */
export const Feature = {
  RING_INDIRECT_DESC: 28,
  RING_EVENT_IDX: 29,
  VERSION_1: 32,
} as const;

/** Feature bits of a memory device. Virtio 1.4, pmem device. */
export const PmemFeature = { SHMEM_REGION: 0 } as const;

/** Device ids. Virtio 1.3, section 5. */
export const DeviceId = { FS: 26, PMEM: 27 } as const;

export function bit(number: number): bigint {
  return 1n << BigInt(number);
}
