import { FormatError } from "../../formats/bytes/index.ts";
import {
  ConfigSpace,
  Inflight,
  MAX_CONFIG_BYTES,
  MAX_SHMEM_REGIONS,
  queueRegionBytes,
  ShmemConfig,
  U64,
} from "../../formats/vhost-user/index.ts";
import { isQueueSize } from "../../formats/virtio/index.ts";
import type { DeviceDescription } from "./device.ts";
import { shmemSizes } from "./session-features.ts";

/** GET_CONFIG's reply. @throws FormatError */
export function configReply(payload: Uint8Array, config: Uint8Array): Uint8Array {
  const { start, size } = configRange(payload);
  const reply = new Uint8Array(ConfigSpace.size + size);
  reply.set(payload.subarray(0, ConfigSpace.size));
  reply.set(config.subarray(start, start + size), ConfigSpace.size);
  return reply;
}

/** The range of the configuration space that a message is about. @throws FormatError */
export function configRange(payload: Uint8Array): { start: number; size: number } {
  const { start, size } = ConfigSpace.view(payload);
  if (start + size > MAX_CONFIG_BYTES || payload.length !== ConfigSpace.size + size)
    throw bad("vhost_user_config.size", ConfigSpace.at.size, `found ${size} bytes at ${start} in ${payload.length}`);
  return { start, size };
}

/** What an in-flight region is for, and the bytes of one queue's part. @throws FormatError */
export function inflightSize(payload: Uint8Array, device: DeviceDescription): { queues: number; bytes: number } {
  const { numQueues, queueSize } = Inflight.view(payload);
  if (numQueues === 0 || numQueues > device.maxQueues || !isQueueSize(queueSize))
    throw bad(
      "vhost_user_inflight",
      16,
      `found ${numQueues} queues of ${queueSize}, the device has ${device.maxQueues}`,
    );
  return { queues: numQueues, bytes: queueRegionBytes(queueSize) };
}

/** GET_SHMEM_CONFIG's reply. */
export function shmemReply(windowBytes: number): Uint8Array {
  const sizes = shmemSizes(windowBytes);
  const reply = new Uint8Array(ShmemConfig.size + MAX_SHMEM_REGIONS * 8);
  ShmemConfig.view(reply).numRegions = sizes.length;
  for (const [id, size] of sizes.entries()) U64.view(reply, ShmemConfig.size + id * 8).value = BigInt(size);
  return reply;
}

export function u64(value: bigint): Uint8Array {
  const payload = new Uint8Array(U64.size);
  U64.view(payload).value = value;
  return payload;
}

/** A u64 of which the protocol uses the low bits only. */
export function small(payload: Uint8Array): number {
  const { value } = U64.view(payload);
  if (value > 0xffff_ffffn)
    throw bad("vhost_user_u64", 0, `found 0x${value.toString(16)}, expected an index and bit 8`);
  return Number(value);
}

export function subset(found: bigint, offered: bigint, what: string): bigint {
  if ((found & ~offered) !== 0n)
    throw new Error(`${what} 0x${found.toString(16)} were set, 0x${offered.toString(16)} offered`);
  return found;
}

export function bad(field: string, at: number, detail: string): FormatError {
  return new FormatError("ERR_BAD_VALUE", field, at, detail);
}
