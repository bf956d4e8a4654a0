import { getU53 } from "../../../formats/bytes/index.ts";
import { Kstatfs } from "../../../formats/fuse/index.ts";
import { allocAligned, errno } from "../../sys/index.ts";
import { type FuseRequest, OUT_ARGS } from "../request.ts";
import { ESTALE, O_RDONLY } from "./linux.ts";
import { put64, room } from "./reply.ts";
import type { Volume } from "./volume.ts";

/** `struct statfs` of 64-bit machines. Linux include/uapi/asm-generic/statfs.h. */
const Statfs = {
  bsize: 8,
  blocks: 16,
  bfree: 24,
  bavail: 32,
  files: 40,
  ffree: 48,
  namelen: 64,
  frsize: 72,
  bytes: 120,
} as const;

const memory = allocAligned(Statfs.bytes);
const dv = new DataView(memory.bytes.buffer, memory.bytes.byteOffset, Statfs.bytes);

/** STATFS. */
export function statfs(volume: Volume, request: FuseRequest): number {
  const bad = room(request, Kstatfs.size);
  if (bad !== 0) return bad;
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const fd = volume.nodes.fdOf(slot);
  let status = fd;
  if (fd >= 0) status = volume.calls.fstatfs(fd, memory.address) < 0 ? -errno() : 0;
  volume.nodes.unpin(slot);
  if (status < 0) return status;
  const { out } = request;
  request.output.bytes.fill(0, OUT_ARGS, OUT_ARGS + Kstatfs.size);
  for (const field of ["blocks", "bfree", "bavail", "files", "ffree"] as const)
    put64(out, OUT_ARGS + Kstatfs.at[field], getU53(dv, Statfs[field], field));
  for (const field of ["bsize", "namelen", "frsize"] as const)
    out.setUint32(OUT_ARGS + Kstatfs.at[field], dv.getUint32(Statfs[field], true), true);
  request.outputBytes = Kstatfs.size;
  return 0;
}

/** SYNCFS: all of the file system that the node is on reaches the disk. */
export function syncfs(volume: Volume, request: FuseRequest): number {
  const slot = volume.nodes.pin(request.nodeId);
  if (slot === 0) return -ESTALE;
  const fd = volume.open(slot, O_RDONLY);
  volume.nodes.unpin(slot);
  if (fd < 0) return fd;
  const status = volume.calls.syncfs(fd) < 0 ? -errno() : 0;
  volume.calls.close(fd);
  return status;
}
