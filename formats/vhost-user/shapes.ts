import { FormatError } from "../bytes/index.ts";
import { MAX_CONFIG_BYTES, MAX_FDS, MAX_TABLE_REGIONS } from "./limits.ts";
import {
  ConfigSpace,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  Header,
  INFLIGHT_PADDED_BYTES,
  Inflight,
  MemoryTable,
  RegionDescription,
  SINGLE_REGION_AT,
  U64,
  VERSION,
  VERSION_MASK,
  VringAddr,
  VringState,
} from "./messages.ts";
import { Request, type RequestShape } from "./requests.ts";

const NOTHING = [0, 0] as const;
const ONE_FD = [1, 1] as const;
const MAYBE_FD = [0, 1] as const;
const exactly = (bytes: number): readonly [number, number] => [bytes, bytes];

const TABLE: Readonly<Record<keyof typeof Request, readonly [bytes: RequestShape["bytes"], fds: RequestShape["fds"]]>> =
  {
    GET_FEATURES: [NOTHING, NOTHING],
    SET_FEATURES: [exactly(U64.size), NOTHING],
    SET_OWNER: [NOTHING, NOTHING],
    RESET_OWNER: [NOTHING, NOTHING],
    SET_MEM_TABLE: [
      [MemoryTable.size, MemoryTable.size + MAX_TABLE_REGIONS * RegionDescription.size],
      [0, MAX_FDS],
    ],
    SET_VRING_NUM: [exactly(VringState.size), NOTHING],
    SET_VRING_ADDR: [exactly(VringAddr.size), NOTHING],
    SET_VRING_BASE: [exactly(VringState.size), NOTHING],
    GET_VRING_BASE: [exactly(VringState.size), NOTHING],
    SET_VRING_KICK: [exactly(U64.size), MAYBE_FD],
    SET_VRING_CALL: [exactly(U64.size), MAYBE_FD],
    SET_VRING_ERR: [exactly(U64.size), MAYBE_FD],
    GET_PROTOCOL_FEATURES: [NOTHING, NOTHING],
    SET_PROTOCOL_FEATURES: [exactly(U64.size), NOTHING],
    GET_QUEUE_NUM: [NOTHING, NOTHING],
    SET_VRING_ENABLE: [exactly(VringState.size), NOTHING],
    SET_BACKEND_REQ_FD: [NOTHING, ONE_FD],
    GET_CONFIG: [[ConfigSpace.size, ConfigSpace.size + MAX_CONFIG_BYTES], NOTHING],
    SET_CONFIG: [[ConfigSpace.size, ConfigSpace.size + MAX_CONFIG_BYTES], NOTHING],
    GET_INFLIGHT_FD: [[Inflight.size, INFLIGHT_PADDED_BYTES], NOTHING],
    SET_INFLIGHT_FD: [[Inflight.size, INFLIGHT_PADDED_BYTES], ONE_FD],
    RESET_DEVICE: [NOTHING, NOTHING],
    GET_MAX_MEM_SLOTS: [NOTHING, NOTHING],
    ADD_MEM_REG: [exactly(SINGLE_REGION_AT + RegionDescription.size), ONE_FD],
    // The specification has none here; old versions of QEMU and other front-ends send one, which means nothing.
    REM_MEM_REG: [exactly(SINGLE_REGION_AT + RegionDescription.size), MAYBE_FD],
    GET_SHMEM_CONFIG: [NOTHING, NOTHING],
  };

const SHAPES: ReadonlyMap<number, RequestShape> = new Map(
  Object.entries(TABLE).map(([name, [bytes, fds]]) => [Request[name as keyof typeof Request], { name, bytes, fds }]),
);

/** A request's header, checked. */
export interface RequestHeader {
  readonly request: Request;
  readonly shape: RequestShape;
  readonly needsReply: boolean;
  /** Bytes of payload that follow. */
  readonly bytes: number;
}

/**
 * Decodes a front-end's header.
 * @param fds how many descriptors came with it
 * @throws FormatError for an unknown request and for anything that does not fit its shape
 */
export function decodeRequest(data: Uint8Array, fds: number): RequestHeader {
  const { request, flags, size } = Header.view(data);
  const shape = SHAPES.get(request);
  if (shape === undefined) throw unsupported(request);
  const where = (field: keyof typeof Header.at) =>
    ["ERR_BAD_VALUE", `${shape.name}.${field}`, Header.at[field]] as const;
  const [least, most] = shape.bytes;
  if ((flags & VERSION_MASK) !== VERSION)
    throw new FormatError(...where("flags"), `found version ${flags & VERSION_MASK}, expected ${VERSION}`);
  if ((flags & FLAG_REPLY) !== 0) throw new FormatError(...where("flags"), "found the reply flag in a request");
  if (size < least || size > most)
    throw new FormatError(...where("size"), `found ${size} bytes, expected ${range(least, most)}`);
  const [fewest, greatest] = shape.fds;
  if (fds < fewest || fds > greatest)
    throw new FormatError(...where("size"), `came with ${fds} descriptors, expected ${range(fewest, greatest)}`);
  return { request: request as Request, shape, needsReply: (flags & FLAG_NEED_REPLY) !== 0, bytes: size };
}

function unsupported(request: number): FormatError {
  return new FormatError("ERR_UNSUPPORTED", "vhost_user_header.request", 0, `found request ${request}`);
}

const range = (least: number, most: number): string => (least === most ? `${least}` : `${least} to ${most}`);
