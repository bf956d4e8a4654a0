import { constants } from "node:os";
import { getU53, setU53 } from "../../formats/bytes/index.ts";
import { Attr, OpenReplyFlag, ReadIn } from "../../formats/fuse/index.ts";
import { HiddenMount } from "../fuse/device/index.ts";
import {
  type FileSystem,
  type FuseRequest,
  IN_ARGS,
  replyAttr,
  replyEntry,
  replyOpen,
  type Validity,
} from "../fuse/index.ts";
import { openAt, preadAt, SysError, viewMemory } from "../sys/index.ts";
import { WindowContents } from "./contents.ts";

const { EROFS, ENOENT, EIO } = constants.errno;
const ROOT_ID = 1;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const BLOCK_BYTES = 4096;
const FOR_EVER: Validity = { seconds: 1_000_000_000, nanos: 0 };

/**
 * Views of files for one guest. A VMM maps what it is given for writing, and whatever a guest then writes is in the file. A view
 * is a file of a FUSE file system of our own, with a page cache of its own: a page is read from the file when it is touched first,
 * and what is written to it stays in this guest's pages. Its writing back is refused.
 *
 * The memory is this guest's alone, and the views end with this process.
 */
export class PrivateViews {
  readonly #mount: HiddenMount;

  private constructor(mount: HiddenMount) {
    this.#mount = mount;
  }

  /** @throws SysError when it cannot be mounted: it takes root */
  static async start(contents: WindowContents, log: (line: string) => void): Promise<PrivateViews> {
    const module = import.meta.url;
    return new PrivateViews(
      await HiddenMount.start({ module, open: "openPrivateViews", args: [contents.memory] }, log),
    );
  }

  /** Opens the view of a file that `put` has noted. @throws SysError */
  open(index: number): number {
    const fd = openAt(this.#mount.folderFd, String(index), O_RDWR | O_CLOEXEC);
    if (fd < 0) throw new SysError("openat", `errno ${-fd}`, -fd, `view ${index}`);
    return fd;
  }

  close(): Promise<void> {
    return this.#mount.close();
  }
}

const O_RDWR = 2;
const O_CLOEXEC = 0o2000000;

/** The file system of the views: the name `5` is the sixth file. */
export function openPrivateViews(memory: SharedArrayBuffer): FileSystem {
  const contents = new WindowContents(memory);
  const indexOf = (nodeId: number) => nodeId - ROOT_ID - 1;
  return {
    init: () => ({ flags: 0, flags2: 0 }),
    destroy: () => {},
    forget: () => {},
    lookup(request) {
      const name = request.input.bytes.toString("latin1", request.nameAt, request.nameAt + request.nameBytes);
      // One that is noted only is opened before it is published.
      if (!/^\d{1,4}$/.test(name) || Number(name) > contents.count) return -ENOENT;
      const nodeId = Number(name) + ROOT_ID + 1;
      putAttributes(request, replyEntry(request, nodeId, 0, FOR_EVER, FOR_EVER), nodeId, contents);
      return 0;
    },
    getattr(request) {
      putAttributes(request, replyAttr(request, FOR_EVER), request.nodeId, contents);
      return 0;
    },
    open: (request) => replyOpen(request, 0, OpenReplyFlag.KEEP_CACHE | OpenReplyFlag.NOFLUSH),
    release: () => 0,
    read(request) {
      const index = indexOf(request.nodeId);
      const offset = getU53(request.in, IN_ARGS + ReadIn.at.offset, "fuse_read_in.offset");
      const wanted = request.in.getUint32(IN_ARGS + ReadIn.at.size, true);
      return readView(request, contents, index, offset, wanted);
    },
    write: () => -EROFS,
    setattr: () => -EROFS,
  };
}

/** Reads from the file, and zeros behind its end: a short answer would make Linux take the view for shorter. */
function readView(
  request: FuseRequest,
  contents: WindowContents,
  index: number,
  offset: number,
  wanted: number,
): number {
  const { room } = request;
  const bytes = Math.min(wanted, room.bytes, Math.max(0, contents.bytes(index) - offset));
  const inFile = Math.max(0, Math.min(bytes, contents.size(index) - offset));
  let done = 0;
  for (let piece = 0; piece < room.count && done < bytes; piece++) {
    const [address, length] = [room.addressOf(piece), Math.min(room.bytesOf(piece), bytes - done)];
    let filled = 0;
    while (filled < length && done + filled < inFile) {
      const want = Math.min(length - filled, inFile - done - filled);
      const got = preadAt(contents.sourceFd(index), address + filled, want, offset + done + filled);
      if (got <= 0) return got === 0 ? -EIO : got;
      filled += got;
    }
    if (filled < length) new Uint8Array(viewMemory(address + filled, length - filled)).fill(0);
    done += length;
  }
  request.roomBytes = done;
  return 0;
}

function putAttributes({ out }: FuseRequest, at: number, nodeId: number, contents: WindowContents): void {
  for (let i = 0; i < Attr.size; i += 4) out.setUint32(at + i, 0, true);
  const isRoot = nodeId === ROOT_ID;
  setU53(out, at + Attr.at.ino, nodeId);
  setU53(out, at + Attr.at.size, isRoot ? 0 : contents.bytes(nodeId - ROOT_ID - 1));
  out.setUint32(at + Attr.at.mode, isRoot ? S_IFDIR | 0o700 : S_IFREG | 0o600, true);
  out.setUint32(at + Attr.at.nlink, 1, true);
  out.setUint32(at + Attr.at.blksize, BLOCK_BYTES, true);
}
