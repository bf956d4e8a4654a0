import { closeSync } from "node:fs";
import { check, lastError, SysError } from "./errno.ts";
import { ipcCalls } from "./ipc-calls.ts";
import { koffi } from "./koffi.ts";
import { allocAligned, type NativeBuffer } from "./memory.ts";

// sys/socket.h, sys/un.h
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const EINTR = 4;
const EAGAIN = 11;
/** `sun_path` of `struct sockaddr_un`, with the NUL. */
const MAX_PATH_BYTES = 108;

/** Descriptors that one message carries at most: SCM_MAX_FD of Linux is 253; nothing here sends more than this. */
export const MAX_MESSAGE_FDS = 32;

/** `struct msghdr`, `struct iovec`, `struct cmsghdr` on a 64-bit machine, one after the other in the scratch page. */
const MSG = { iov: 16, iovlen: 24, control: 32, controllen: 40, flags: 48, size: 56 } as const;
const IOV = { at: 64, base: 64, len: 72 } as const;
const CMSG = { at: 96, len: 96, level: 104, type: 108, data: 112, header: 16 } as const;

/** Nothing to be had, or no room, just now. */
export const WOULD_BLOCK = -EAGAIN;

/** A Unix stream socket whose messages carry descriptors. Non-blocking; each thread has an object of its own. */
export class UnixSocket {
  readonly fd: number;
  readonly #scratch: NativeBuffer;
  readonly #dv: DataView;

  constructor(fd: number) {
    this.fd = fd;
    this.#scratch = allocAligned(CMSG.data + MAX_MESSAGE_FDS * 4);
    const { bytes } = this.#scratch;
    this.#dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#put(MSG.iov, this.#scratch.address + IOV.at);
    this.#put(MSG.iovlen, 1);
    bytes.fill(0, 0, 16);
  }

  /**
   * Reads at most `bytes` bytes to `address`; descriptors that came along are appended to `fds` and belong to the caller.
   * @returns bytes read, 0 when the other side has closed, a negative error number (WOULD_BLOCK among them).
   * @throws SysError EMSGSIZE when there were more descriptors than MAX_MESSAGE_FDS; those that arrived are in `fds`
   */
  receive(address: number, bytes: number, fds: number[]): number {
    this.#prepare(address, bytes, CMSG.header + MAX_MESSAGE_FDS * 4);
    const got = ipcCalls().recvmsg(this.fd, this.#scratch.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0) {
      const errno = koffi().errno();
      return errno === EINTR ? WOULD_BLOCK : -errno;
    }
    const dv = this.#dv;
    if (dv.getUint32(MSG.controllen, true) >= CMSG.header) {
      const isRights = dv.getInt32(CMSG.level, true) === SOL_SOCKET && dv.getInt32(CMSG.type, true) === SCM_RIGHTS;
      const end = CMSG.at + dv.getUint32(CMSG.len, true);
      if (isRights) for (let at = CMSG.data; at + 4 <= end; at += 4) fds.push(dv.getInt32(at, true));
      if ((dv.getInt32(MSG.flags, true) & MSG_CTRUNC) !== 0)
        throw new SysError(
          "recvmsg",
          "EMSGSIZE",
          90,
          undefined,
          `more than ${MAX_MESSAGE_FDS} descriptors in a message`,
        );
    }
    return got;
  }

  /**
   * Writes at most `bytes` bytes from `address`, with descriptors.
   * @returns bytes written, or a negative error number (WOULD_BLOCK among them)
   */
  send(address: number, bytes: number, fds: readonly number[] = []): number {
    const control = fds.length === 0 ? 0 : CMSG.header + fds.length * 4;
    if (fds.length > MAX_MESSAGE_FDS) throw new RangeError(`UnixSocket.send: ${fds.length} descriptors`);
    this.#prepare(address, bytes, control);
    this.#put(CMSG.len, control);
    this.#dv.setInt32(CMSG.level, SOL_SOCKET, true);
    this.#dv.setInt32(CMSG.type, SCM_RIGHTS, true);
    for (let i = 0; i < fds.length; i++) this.#dv.setInt32(CMSG.data + i * 4, fds[i] as number, true);
    const sent = ipcCalls().sendmsg(this.fd, this.#scratch.address, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    const errno = koffi().errno();
    return errno === EINTR ? WOULD_BLOCK : -errno;
  }

  close(): void {
    closeSync(this.fd);
  }

  #prepare(address: number, bytes: number, control: number): void {
    this.#put(IOV.base, address);
    this.#put(IOV.len, bytes);
    this.#put(MSG.control, control === 0 ? 0 : this.#scratch.address + CMSG.at);
    // The kernel aligns what it counts of a control message, so room for the last descriptors' padding is given.
    this.#put(MSG.controllen, control === 0 ? 0 : (control + 7) & ~7);
    this.#put(MSG.flags, 0);
  }

  #put(at: number, value: number): void {
    this.#dv.setUint32(at, value >>> 0, true);
    this.#dv.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
  }
}

/** A pair of connected sockets. */
export function socketPair(): [number, number] {
  const pair = Buffer.allocUnsafeSlow(8);
  check(ipcCalls().socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
  return [pair.readInt32LE(0), pair.readInt32LE(4)];
}

/** A socket that listens at `path`, where there must be nothing. */
export function listenUnix(path: string): number {
  return opened("bind", path, (fd, address) => {
    check(ipcCalls().bind(fd, address, address.length), "bind", path);
    check(ipcCalls().listen(fd, 1), "listen", path);
  });
}

/** A socket connected to the one that listens at `path`. */
export function connectUnix(path: string): number {
  return opened("connect", path, (fd, address) => {
    check(ipcCalls().connect(fd, address, address.length), "connect", path);
  });
}

/** The next connection of a listening socket; WOULD_BLOCK when there is none, or another negative error number. */
export function acceptUnix(fd: number): number {
  const accepted = ipcCalls().accept4(fd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return accepted >= 0 ? accepted : -koffi().errno();
}

function opened(syscall: string, path: string, use: (fd: number, address: Buffer) => void): number {
  const name = Buffer.from(path, "utf8");
  if (name.length === 0 || name.length >= MAX_PATH_BYTES)
    throw new SysError(syscall, "ENAMETOOLONG", 36, path, `a socket's path has 1 to ${MAX_PATH_BYTES - 1} bytes`);
  const address = Buffer.alloc(2 + name.length + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const fd = ipcCalls().socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw lastError("socket");
  try {
    use(fd, address);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}
