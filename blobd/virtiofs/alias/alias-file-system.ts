import { closeSync } from "node:fs";
import { setU53 } from "../../../formats/bytes/index.ts";
import { Attr, InitFlag2, OpenReplyFlag } from "../../../formats/fuse/index.ts";
import {
  type FileSystem,
  type FuseRequest,
  IN_ARGS,
  replyAttr,
  replyEntry,
  replyOpen,
  type Validity,
} from "../../fuse/index.ts";
import { closeBacking, openBacking, type ProcessDescriptors } from "../../sys/index.ts";

const ENOENT = 2;
const ROOT_ID = 1;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
/** What every alias says of its size: more than any file has. */
const ALIAS_BYTES = 2 ** 50;
const FOR_EVER: Validity = { seconds: 1_000_000_000, nanos: 0 };

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
    putAttributes(request, at, this.#lastNode);
    return 0;
  }

  getattr(request: FuseRequest): number {
    putAttributes(request, replyAttr(request, FOR_EVER), request.nodeId);
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

function putAttributes({ out }: FuseRequest, at: number, nodeId: number): void {
  for (let i = 0; i < Attr.size; i += 4) out.setUint32(at + i, 0, true);
  setU53(out, at + Attr.at.ino, nodeId);
  setU53(out, at + Attr.at.size, nodeId === ROOT_ID ? 0 : ALIAS_BYTES);
  out.setUint32(at + Attr.at.mode, nodeId === ROOT_ID ? S_IFDIR | 0o700 : S_IFREG | 0o600, true);
  out.setUint32(at + Attr.at.nlink, 1, true);
  out.setUint32(at + Attr.at.blksize, 4096, true);
}
