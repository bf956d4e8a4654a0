/**
 * What Linux offers and Node.js does not: the one place with native calls. Linux on x86-64 and arm64 with glibc. Nothing
 * is loaded before the first call; a failed call is a SysError.
 */

export { AsyncReads } from "./async-reads.ts";
export { type BlockDigests, blockDigests } from "./block-digests.ts";
export { type CheckedFile, mountChecked } from "./checked-mount.ts";
export { realtimeNanos } from "./clock.ts";
export { Capability, credentialCalls, SYS_THREAD, ThreadCapabilities } from "./credentials.ts";
export type { DecodeFailure, Decoder, DecodeStatus } from "./decoder.ts";
export { duplicate, isEventFd, replaceDescriptor, setNonBlocking } from "./descriptors.ts";
export { check, SysError } from "./errno.ts";
export { eventFd, signalEvent, takeEvent } from "./event-fd.ts";
export { errno, type FileCalls, fileCalls } from "./file-calls.ts";
export { flock, type LockKind, tryFlock, unlockFlock } from "./flock.ts";
export { makeFolders } from "./folders.ts";
export {
  cloneFuseDevice,
  closeBacking,
  openBacking,
  openFuseDevice,
  readTo,
  UmountFlag,
  unmountAsync,
  writeFrom,
} from "./fuse-device.ts";
export { isFuse } from "./is-fuse.ts";
export { type DeflateDecoder, hasIsal, isalDecoder } from "./isal.ts";
export type { Path } from "./libc.ts";
export { attachLoop, type LoopDevice } from "./loop.ts";
export { addressOf, allocAligned, type NativeBuffer, PAGE_SIZE } from "./memory.ts";
export {
  createMount,
  type ErofsMount,
  type MountAttribute,
  type MountRequest,
  mount,
  mountErofs,
  unmount,
} from "./mount.ts";
export { MUTEX_BYTES, Mutex } from "./mutex.ts";
export { makeDevice, mknod, setTimes, type Timestamp } from "./nodes.ts";
export { ownDescriptors, ProcessDescriptors } from "./own-descriptors.ts";
export { POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, PollSet } from "./poll-set.ts";
export { tryLockRange, unlockRange } from "./range-lock.ts";
export { fileSize, openAt, preadAt, readFully, writeFully } from "./raw-files.ts";
export { type Sha256, sha256, sha256Of } from "./sha256.ts";
export { copyMemory, mapShared, memfd, unmapShared, viewMemory } from "./shared-memory.ts";
export {
  acceptUnix,
  connectUnix,
  listenUnix,
  MAX_MESSAGE_FDS,
  socketPair,
  UnixSocket,
  WOULD_BLOCK,
} from "./unix-socket.ts";
export { listXattrs, setXattr } from "./xattr.ts";
export { type DescriptorNames, XattrAt } from "./xattr-at.ts";
export { hasLibzstd, zstdDecoder } from "./zstd.ts";
export { libzstdMaxLevel, libzstdVersion, ZstdChunkDecoder, ZstdChunkEncoder } from "./zstd-chunks.ts";
