import { struct } from "../bytes/index.ts";

/** `struct virtio_pmem_req`. Virtio 1.3, section 5.19.6. */
export const PmemReq = struct("virtio_pmem_req", 4, { type: "u32" });
/** `struct virtio_pmem_resp`: 0 for success. */
export const PmemResp = struct("virtio_pmem_resp", 4, { ret: "u32" });
/** The one request there is. */
export const PMEM_REQ_FLUSH = 0;

/**
 * Bytes of `struct virtio_pmem_config`, start and size of the memory. All zero where VIRTIO_PMEM_F_SHMEM_REGION says that the
 * memory is shared-memory region PMEM_SHMEM.
 */
export const PMEM_CONFIG_BYTES = 16;
export const PMEM_SHMEM = 0;
