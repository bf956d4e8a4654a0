import { constants } from "node:os";
import { getU53 } from "../../formats/bytes/index.ts";
import { OpenReplyFlag, ReadIn, ROOT_ID } from "../../formats/fuse/index.ts";
import { HiddenMount } from "../fuse/device/index.ts";
import {
  type FileSystem,
  FOR_EVER,
  type FuseRequest,
  IN_ARGS,
  putHiddenAttributes,
  replyAttr,
  replyEntry,
  replyOpen,
} from "../fuse/index.ts";
import { check, openAt, readFully, viewMemory } from "../sys/index.ts";
import { WindowContents } from "./contents.ts";

const { EROFS, ENOENT, EIO } = constants.errno;

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
    return check(openAt(this.#mount.folderFd, String(index), O_RDWR | O_CLOEXEC), "openat", `view ${index}`);
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
      putHiddenAttributes(
        request,
        replyEntry(request, nodeId, 0, FOR_EVER, FOR_EVER),
        nodeId,
        contents.bytes(Number(name)),
      );
      return 0;
    },
    getattr(request) {
      const { nodeId } = request;
      const bytes = nodeId === ROOT_ID ? 0 : contents.bytes(indexOf(nodeId));
      putHiddenAttributes(request, replyAttr(request, FOR_EVER), nodeId, bytes);
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
    const stored = Math.max(0, Math.min(length, inFile - done));
    const filled = readFully(contents.sourceFd(index), address, stored, offset + done);
    if (filled < stored) return filled < 0 ? filled : -EIO;
    if (filled < length) new Uint8Array(viewMemory(address + filled, length - filled)).fill(0);
    done += length;
  }
  request.roomBytes = done;
  return 0;
}
