import { FormatError, getU53 } from "../../../formats/bytes/index.ts";
import {
  BatchForgetIn,
  ForgetIn,
  ForgetOne,
  GetxattrIn,
  GetxattrOut,
  InterruptIn,
  Opcode,
  ReadIn,
} from "../../../formats/fuse/index.ts";
import type { FileSystem, Handler } from "../filesystem.ts";
import { type FuseRequest, IN_ARGS, NO_REPLY, PARKED } from "../request.ts";
import { FuseSession } from "../session.ts";
import { decodeBody, decodeHeader } from "./decode.ts";
import { boundedStatus, EIO, ENOSYS, statusOf } from "./errors.ts";
import { negotiate } from "./init.ts";
import { OPERATIONS, type Operation } from "./operations.ts";

export interface ServerOptions {
  /** Memory of the session: SESSION_WORDS of 32 bits, shared by all threads that serve the mount. */
  readonly session: Int32Array;
  /** The transport has a DAX window. */
  readonly hasWindow?: boolean;
  /** Takes a line about what somebody should look into: a version that is too old, a mistake in a handler. */
  readonly log: (line: string) => void;
}

/** Mistakes of handlers that are told in full; hostile requests that meet one must not fill the log. */
const MAX_FAULTS_TOLD = 20;

/**
 * Decodes requests, hands them to a file system, and says how they ended. It knows no transport: that fills a FuseRequest,
 * calls `handle`, and sends what is then in it. One object serves one thread.
 */
export class FuseServer {
  readonly session: FuseSession;
  readonly #fileSystem: FileSystem;
  /** By opcode; undefined is answered with ENOSYS. */
  readonly #handlers: readonly (Handler | undefined)[];
  readonly #hasWindow: boolean;
  readonly #log: (line: string) => void;
  #faults = 0;

  constructor(fileSystem: FileSystem, { session, hasWindow = false, log }: ServerOptions) {
    this.session = new FuseSession(session);
    this.#fileSystem = fileSystem;
    this.#handlers = handlersOf(fileSystem);
    this.#hasWindow = hasWindow;
    this.#log = log;
  }

  /**
   * Carries out a request; it never throws.
   *
   * @returns 0: the reply is in the request; a negative error number: reply with that and nothing else; PARKED: the reply
   *   comes later; NO_REPLY.
   */
  handle(request: FuseRequest): number {
    request.outputBytes = 0;
    request.roomBytes = 0;
    request.session = this.session;
    const opcode = request.inputBytes >= IN_ARGS ? request.in.getUint32(4, true) : 0;
    request.opcode = opcode;
    let status: number;
    try {
      status = this.#run(request, opcode);
    } catch (error) {
      status = statusOf(error) ?? this.#fault(error, opcode);
    }
    return hasNoReply(opcode) ? NO_REPLY : boundedStatus(status);
  }

  /** Looks after this thread's parked requests: FileSystem.resume. */
  resume(): number {
    try {
      return this.#fileSystem.resume?.() ?? -1;
    } catch (error) {
      this.#fault(error, 0);
      return -1;
    }
  }

  #run(request: FuseRequest, opcode: number): number {
    decodeHeader(request);
    const operation = OPERATIONS[opcode];
    if (operation === undefined) return -ENOSYS;
    if (!this.session.isStarted && opcode !== Opcode.INIT) return -EIO;
    decodeBody(request, operation);
    if (request.outputLimit < leastReply(request, operation))
      throw new FormatError(
        "ERR_TRUNCATED",
        operation.name,
        0,
        `there is room for a reply of ${request.outputLimit} bytes, expected at least ${leastReply(request, operation)}`,
      );
    const handler = this.#handlers[opcode];
    if (handler === undefined) return this.#ownOperation(request, opcode);
    if (opcode === Opcode.READ) request.room.truncate(request.in.getUint32(IN_ARGS + ReadIn.at.size, true));
    const status = handler(request);
    if (status < 0) return status;
    if (request.outputBytes > request.outputLimit || request.roomBytes > request.room.bytes)
      throw new Error(`a reply of ${request.outputBytes + request.roomBytes} bytes where less was asked for`);
    return status === 0 || status === PARKED ? status : this.#fault(new Error(`a handler answered ${status}`), opcode);
  }

  #ownOperation(request: FuseRequest, opcode: number): number {
    switch (opcode) {
      case Opcode.INIT:
        return negotiate(request, this.#fileSystem, this.session, this.#hasWindow, this.#log);
      case Opcode.DESTROY:
        this.session.end();
        this.#fileSystem.destroy();
        return 0;
      case Opcode.FORGET:
        this.#fileSystem.forget(request.nodeId, getU53(request.in, IN_ARGS + ForgetIn.at.nlookup, "nlookup"));
        return 0;
      case Opcode.BATCH_FORGET:
        return this.#batchForget(request);
      case Opcode.INTERRUPT:
        this.#fileSystem.interrupt?.(request.in.getBigUint64(IN_ARGS + InterruptIn.at.unique, true));
        return 0;
      default:
        return -ENOSYS;
    }
  }

  #batchForget(request: FuseRequest): number {
    const { in: dv } = request;
    const count = dv.getUint32(IN_ARGS + BatchForgetIn.at.count, true);
    let at = IN_ARGS + BatchForgetIn.size;
    const room = Math.floor((request.extensionsAt - at) / ForgetOne.size);
    if (count > room)
      throw new FormatError("ERR_BAD_VALUE", "fuse_batch_forget_in.count", IN_ARGS, `found ${count}, ${room} came`);
    for (let i = 0; i < count; i++, at += ForgetOne.size)
      this.#fileSystem.forget(
        getU53(dv, at + ForgetOne.at.nodeid, "fuse_forget_one.nodeid"),
        getU53(dv, at + ForgetOne.at.nlookup, "fuse_forget_one.nlookup"),
      );
    return 0;
  }

  #fault(error: unknown, opcode: number): number {
    this.#faults++;
    if (this.#faults <= MAX_FAULTS_TOLD) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#log(`${OPERATIONS[opcode]?.name ?? opcode} answered with EIO: ${text}`);
      if (this.#faults === MAX_FAULTS_TOLD) this.#log("further mistakes of this kind are not told");
    }
    return -EIO;
  }
}

/** Bytes without which a successful reply does not fit. An attribute asked for with size 0 is answered with its length. */
function leastReply(request: FuseRequest, { opcode, replyBytes }: Operation): number {
  if (opcode !== Opcode.GETXATTR && opcode !== Opcode.LISTXATTR) return replyBytes;
  return request.in.getUint32(IN_ARGS + GetxattrIn.at.size, true) === 0 ? GetxattrOut.size : 0;
}

function hasNoReply(opcode: number): boolean {
  return (
    opcode === Opcode.FORGET ||
    opcode === Opcode.BATCH_FORGET ||
    opcode === Opcode.INTERRUPT ||
    opcode === Opcode.NOTIFY_REPLY
  );
}

/** The file system's handlers by opcode. */
function handlersOf(fs: FileSystem): (Handler | undefined)[] {
  const handlers = new Array<Handler | undefined>(OPERATIONS.length).fill(undefined);
  const set = (opcode: number, handler: Handler | undefined) => {
    if (handler !== undefined) handlers[opcode] = handler.bind(fs);
  };
  set(Opcode.LOOKUP, fs.lookup);
  set(Opcode.GETATTR, fs.getattr);
  set(Opcode.STATX, fs.statx);
  set(Opcode.SETATTR, fs.setattr);
  set(Opcode.ACCESS, fs.access);
  set(Opcode.READLINK, fs.readlink);
  set(Opcode.SYMLINK, fs.symlink);
  set(Opcode.MKNOD, fs.mknod);
  set(Opcode.MKDIR, fs.mkdir);
  set(Opcode.UNLINK, fs.unlink);
  set(Opcode.RMDIR, fs.rmdir);
  set(Opcode.RENAME, fs.rename && ((request) => fs.rename!(request, 0)));
  set(Opcode.RENAME2, fs.rename && ((request) => fs.rename!(request, request.in.getUint32(IN_ARGS + 8, true))));
  set(Opcode.LINK, fs.link);
  set(Opcode.OPEN, fs.open);
  set(Opcode.CREATE, fs.create);
  set(Opcode.TMPFILE, fs.tmpfile);
  set(Opcode.READ, fs.read);
  set(Opcode.WRITE, fs.write);
  set(Opcode.FLUSH, fs.flush);
  set(Opcode.RELEASE, fs.release);
  set(Opcode.FSYNC, fs.fsync);
  set(Opcode.FALLOCATE, fs.fallocate);
  set(Opcode.LSEEK, fs.lseek);
  set(Opcode.COPY_FILE_RANGE, fs.copyFileRange);
  set(Opcode.COPY_FILE_RANGE_64, fs.copyFileRange);
  set(Opcode.OPENDIR, fs.opendir);
  set(Opcode.READDIR, fs.readdir && ((request) => fs.readdir!(request, false)));
  set(Opcode.READDIRPLUS, fs.readdir && ((request) => fs.readdir!(request, true)));
  set(Opcode.RELEASEDIR, fs.releasedir);
  set(Opcode.FSYNCDIR, fs.fsyncdir);
  set(Opcode.STATFS, fs.statfs);
  set(Opcode.SYNCFS, fs.syncfs);
  set(Opcode.SETXATTR, fs.setxattr);
  set(Opcode.GETXATTR, fs.getxattr);
  set(Opcode.LISTXATTR, fs.listxattr);
  set(Opcode.REMOVEXATTR, fs.removexattr);
  set(Opcode.GETLK, fs.getlk);
  set(Opcode.SETLK, fs.setlk && ((request) => fs.setlk!(request, false)));
  set(Opcode.SETLKW, fs.setlk && ((request) => fs.setlk!(request, true)));
  set(Opcode.IOCTL, fs.ioctl);
  set(Opcode.POLL, fs.poll);
  set(Opcode.SETUPMAPPING, fs.setupMapping);
  set(Opcode.REMOVEMAPPING, fs.removeMapping);
  return handlers;
}
