/** Virtio as bytes: split virtqueues, feature bits, configuration spaces. */
export { bit, DeviceId, Feature, PmemFeature } from "./features.ts";
export { FS_SHMEM_CACHE, FsConfig, fsConfig, TAG_BYTES } from "./fs-config.ts";
export { PMEM_CONFIG_BYTES, PMEM_REQ_FLUSH, PMEM_SHMEM, PmemReq, PmemResp } from "./pmem.ts";
export * from "./split-ring.ts";
