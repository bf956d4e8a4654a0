import { F_PROTOCOL_FEATURES, ProtocolFeature, Request } from "../../formats/vhost-user/index.ts";
import { bit, Feature } from "../../formats/virtio/index.ts";
import type { DeviceDescription } from "./device.ts";

/** The virtio features that a front-end is offered. */
export function offeredFeatures(device: DeviceDescription): bigint {
  return (
    device.features |
    bit(Feature.VERSION_1) |
    bit(Feature.RING_INDIRECT_DESC) |
    bit(Feature.RING_EVENT_IDX) |
    bit(F_PROTOCOL_FEATURES)
  );
}

/** The protocol features that a front-end is offered. */
export function offeredProtocolFeatures(device: DeviceDescription, memorySlots: number): bigint {
  const { MQ, REPLY_ACK, CONFIG, INFLIGHT_SHMFD, RESET_DEVICE } = ProtocolFeature;
  let features = bit(MQ) | bit(REPLY_ACK) | bit(CONFIG) | bit(INFLIGHT_SHMFD) | bit(RESET_DEVICE);
  if (device.windowBytes > 0)
    features |=
      bit(ProtocolFeature.BACKEND_REQ) | bit(ProtocolFeature.BACKEND_SEND_FD) | bit(ProtocolFeature.SHMEM_MAP);
  if (memorySlots > 0) features |= bit(ProtocolFeature.CONFIGURE_MEM_SLOTS);
  return features;
}

/** The protocol feature that a request is part of: without it, the request must not come. */
export const NEEDED_FEATURE: Readonly<Partial<Record<Request, number>>> = {
  [Request.GET_QUEUE_NUM]: ProtocolFeature.MQ,
  [Request.SET_BACKEND_REQ_FD]: ProtocolFeature.BACKEND_REQ,
  [Request.GET_CONFIG]: ProtocolFeature.CONFIG,
  [Request.SET_CONFIG]: ProtocolFeature.CONFIG,
  [Request.GET_INFLIGHT_FD]: ProtocolFeature.INFLIGHT_SHMFD,
  [Request.SET_INFLIGHT_FD]: ProtocolFeature.INFLIGHT_SHMFD,
  [Request.RESET_DEVICE]: ProtocolFeature.RESET_DEVICE,
  [Request.GET_MAX_MEM_SLOTS]: ProtocolFeature.CONFIGURE_MEM_SLOTS,
  [Request.ADD_MEM_REG]: ProtocolFeature.CONFIGURE_MEM_SLOTS,
  [Request.REM_MEM_REG]: ProtocolFeature.CONFIGURE_MEM_SLOTS,
  [Request.GET_SHMEM_CONFIG]: ProtocolFeature.SHMEM_MAP,
};

/**
 * GET_SHMEM_CONFIG's reply. The sizes must add up to a power of two, since QEMU makes one PCI BAR of them and does not round:
 * a region that nobody uses fills it up.
 */
export function shmemSizes(windowBytes: number): number[] {
  if (windowBytes === 0) return [];
  const whole = 2 ** Math.ceil(Math.log2(windowBytes));
  return whole === windowBytes ? [windowBytes] : [windowBytes, whole - windowBytes];
}
