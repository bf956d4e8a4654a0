import { closeSync } from "node:fs";
import { InitFlag2, OpenReplyFlag, ROOT_ID } from "../../../formats/fuse/index.ts";
import {
  type FileSystem,
  FOR_EVER,
  type FuseRequest,
  IN_ARGS,
  putHiddenAttributes,
  replyAttr,
  replyEntry,
  replyOpen,
} from "../../fuse/index.ts";
import { closeBacking, openBacking, type ProcessDescriptors } from "../../sys/index.ts";

const ENOENT = 2;
/** What every alias says of its size: more than any file has. */
const ALIAS_BYTES = 2 ** 50;

/**
 * The file system of aliases: the name `5.17` is a file that passes everything through to the process's descriptor 5, but
 * says that it is as long as anybody could want. What follows the dot makes a name new, for the kernel keeps names.
 */
export class AliasFileSystem implements FileSystem {
  readonly #deviceFd: number;
  readonly #descriptors: ProcessDescriptors;
  /** Descriptors by node. */
  readonly #nodes = new Map<number, number>();
  #lastNode = ROOT_ID;

  /** @param deviceFd of /dev/fuse, of the mount */
  constructor(deviceFd: number, descriptors: ProcessDescriptors) {
    this.#deviceFd = deviceFd;
    this.#descriptors = descriptors;
  }

  init(): { flags: number; flags2: number } {
    return { flags: 0, flags2: InitFlag2.PASSTHROUGH };
  }

  destroy(): void {
    this.#nodes.clear();
  }

  forget(nodeId: number): void {
    this.#nodes.delete(nodeId);
  }

  lookup(request: FuseRequest): number {
    const name = request.input.bytes.toString("latin1", request.nameAt, request.nameAt + request.nameBytes);
    const [, fd] = /^(\d{1,9})\.\d+$/.exec(name) ?? [];
    if (fd === undefined) return -ENOENT;
    this.#nodes.set(++this.#lastNode, Number(fd));
    const at = replyEntry(request, this.#lastNode, 0, FOR_EVER, FOR_EVER);
    putHiddenAttributes(request, at, this.#lastNode, ALIAS_BYTES);
    return 0;
  }

  getattr(request: FuseRequest): number {
    putHiddenAttributes(request, replyAttr(request, FOR_EVER), request.nodeId, ALIAS_BYTES);
    return 0;
  }

  open(request: FuseRequest): number {
    const fd = this.#nodes.get(request.nodeId);
    if (fd === undefined) return -ENOENT;
    const own = this.#descriptors.get(fd);
    if (own < 0) return own;
    const id = openBacking(this.#deviceFd, own);
    closeSync(own);
    return id < 0 ? id : replyOpen(request, id, OpenReplyFlag.PASSTHROUGH, id);
  }

  release(request: FuseRequest): number {
    closeBacking(this.#deviceFd, request.in.getUint32(IN_ARGS, true));
    return 0;
  }
}
