/** Requests of the front-end. The vhost-user specification, "Front-end message types". */
export const Request = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  GET_SHMEM_CONFIG: 44,
} as const;
export type Request = (typeof Request)[keyof typeof Request];

/** Requests of the back-end. The same, "Back-end message types". */
export const BackendRequest = {
  CONFIG_CHANGE: 2,
  SHMEM_MAP: 9,
  SHMEM_UNMAP: 10,
} as const;

/**
 * Requests of the back-end as they were before the specification had any for mapping files: the virtio-fs DAX patches for
 * QEMU (2019 to 2021). FS_IO has the number that SHMEM_MAP got later: only one set can be in use on a connection.
 */
export const FsRequest = { FS_MAP: 6, FS_UNMAP: 7, FS_SYNC: 8, FS_IO: 9 } as const;

/** Bits of the protocol feature mask. The same, "Protocol features". */
export const ProtocolFeature = {
  MQ: 0,
  REPLY_ACK: 3,
  BACKEND_REQ: 5,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  CONFIGURE_MEM_SLOTS: 15,
  SHMEM_MAP: 22,
} as const;

/** The virtio feature bit that offers protocol features; no driver ever sees it. */
export const F_PROTOCOL_FEATURES = 30;

/** What a request looks like: bytes of its payload (least, most) and descriptors that come along (least, most). */
export interface RequestShape {
  readonly name: string;
  readonly bytes: readonly [number, number];
  readonly fds: readonly [number, number];
}
