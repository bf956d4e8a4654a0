/** Regions in a SET_MEM_TABLE: `VHOST_MEMORY_BASELINE_NREGIONS`, fixed by the message's layout. */
export const MAX_TABLE_REGIONS = 8;
/** Regions with CONFIGURE_MEM_SLOTS. Linux gives a guest at most 509 slots by default (KVM's memory slots less three). */
export const MAX_MEMORY_SLOTS = 509;
/** Bytes of configuration space in a message: `VHOST_USER_MAX_CONFIG_SIZE`. */
export const MAX_CONFIG_BYTES = 256;
/** Queue indexes have 8 bits in SET_VRING_KICK, CALL and ERR. */
export const MAX_QUEUES = 256;
/** Regions of shared memory that a device can have: an 8-bit id. */
export const MAX_SHMEM_REGIONS = 256;
/** Longest message of either side behind its header, in bytes: the reply to GET_SHMEM_CONFIG. */
export const MAX_PAYLOAD_BYTES = 8 + MAX_SHMEM_REGIONS * 8;
/** Descriptors in a message: one a region. */
export const MAX_FDS = MAX_TABLE_REGIONS;
/** Guest addresses and sizes are below this: 2^47, what a user-space pointer of either architecture can name. */
export const MAX_ADDRESS = 2 ** 47;
/** Entries of one FS_MAP, FS_UNMAP or FS_IO. */
export const FS_ENTRIES = 8;
