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
import { closeBacking, openBacking } from "../../sys/index.ts";

const ENOENT = 2;
const ROOT_ID = 1;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
/** What every alias says of its size: more than any file has. */
const ALIAS_BYTES = 2 ** 50;
const FOR_EVER: Validity = { seconds: 1_000_000_000, nanos: 0 };

/**
 * The file system of aliases: the name `5.17` is a file that passes everything through to this process's descriptor 5, but
 * says that it is as long as anybody could want. What follows the dot makes a name new, for the kernel keeps names.
 *
 * @param shared word 0: the descriptor of /dev/fuse, once it is mounted
 */
export function openAliasFileSystem(shared: SharedArrayBuffer): FileSystem {
  const device = new Int32Array(shared, 0, 1);
  /** Descriptors by node. */
  const nodes = new Map<number, number>();
  let lastNode = ROOT_ID;
  return {
    init: () => ({ flags: 0, flags2: InitFlag2.PASSTHROUGH }),
    destroy: () => nodes.clear(),
    forget: (nodeId) => {
      nodes.delete(nodeId);
    },
    lookup(request) {
      const name = request.input.bytes.toString("latin1", request.nameAt, request.nameAt + request.nameBytes);
      const [, fd] = /^(\d+)\.\d+$/.exec(name) ?? [];
      if (fd === undefined) return -ENOENT;
      nodes.set(++lastNode, Number(fd));
      putAttributes(request, replyEntry(request, lastNode, 0, FOR_EVER, FOR_EVER), lastNode);
      return 0;
    },
    getattr(request) {
      putAttributes(request, replyAttr(request, FOR_EVER), request.nodeId);
      return 0;
    },
    open(request) {
      const fd = nodes.get(request.nodeId);
      if (fd === undefined) return -ENOENT;
      const id = openBacking(Atomics.load(device, 0), fd);
      return id < 0 ? id : replyOpen(request, id, OpenReplyFlag.PASSTHROUGH, id);
    },
    release(request) {
      closeBacking(Atomics.load(device, 0), request.in.getUint32(IN_ARGS, true));
      return 0;
    },
  };
}

function putAttributes({ out }: FuseRequest, at: number, nodeId: number): void {
  for (let i = 0; i < Attr.size; i += 4) out.setUint32(at + i, 0, true);
  setU53(out, at + Attr.at.ino, nodeId);
  setU53(out, at + Attr.at.size, nodeId === ROOT_ID ? 0 : ALIAS_BYTES);
  out.setUint32(at + Attr.at.mode, nodeId === ROOT_ID ? S_IFDIR | 0o700 : S_IFREG | 0o600, true);
  out.setUint32(at + Attr.at.nlink, 1, true);
  out.setUint32(at + Attr.at.blksize, 4096, true);
}
