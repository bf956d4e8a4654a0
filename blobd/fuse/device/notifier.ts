import { constants } from "node:os";
import { setU53 } from "../../../formats/bytes/index.ts";
import {
  Notify,
  NotifyDeleteOut,
  NotifyInvalEntryOut,
  NotifyInvalInodeOut,
  NotifyStoreOut,
  OutHeader,
} from "../../../formats/fuse/index.ts";
import { type NativeBuffer, writeFrom } from "../../sys/index.ts";
import { MAX_WRITE_BYTES } from "../index.ts";
import { endingOnPage } from "./page-end.ts";

const BODY = OutHeader.size;
/** Where the data of a STORE are. */
const DATA = BODY + NotifyStoreOut.size;
/** `FUSE_NAME_MAX`. */
const MAX_NAME_BYTES = 1024;

/**
 * What a server tells the kernel unasked. Results are 0 or a negative error number; ENOENT says that the kernel does not
 * know the node, which is as good.
 *
 * The kernel takes locks for these that a request in flight may hold. A thread must not call them while it handles a
 * request, and never store over a range of which a READ has not been answered: two threads that do it wait for each other
 * for ever.
 */
export class FuseNotifier {
  readonly #fd: number;
  /** Data to be stored start on a page, so that a file opened with O_DIRECT is read to there. */
  readonly #message: NativeBuffer = endingOnPage(DATA, DATA + MAX_WRITE_BYTES);
  readonly #dv: DataView;

  /** @param fd any descriptor of the mount. */
  constructor(fd: number) {
    this.#fd = fd;
    const { bytes } = this.#message;
    this.#dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** A node's attributes have changed, and its data from `offset` on: `bytes` of it, 0 for all behind, negative for none. */
  invalidateNode(nodeId: number, offset: number, bytes: number): number {
    setU53(this.#dv, BODY + NotifyInvalInodeOut.at.ino, nodeId);
    setU53(this.#dv, BODY + NotifyInvalInodeOut.at.off, bytes < 0 ? -1 : offset);
    setU53(this.#dv, BODY + NotifyInvalInodeOut.at.len, Math.max(bytes, 0));
    return this.#send(Notify.INVAL_INODE, NotifyInvalInodeOut.size);
  }

  /** A name in a directory may mean another file now, or none. */
  invalidateEntry(parent: number, name: Uint8Array): number {
    setU53(this.#dv, BODY + NotifyInvalEntryOut.at.parent, parent);
    this.#dv.setUint32(BODY + NotifyInvalEntryOut.at.namelen, name.length, true);
    this.#dv.setUint32(BODY + NotifyInvalEntryOut.at.flags, 0, true);
    return this.#sendName(Notify.INVAL_ENTRY, NotifyInvalEntryOut.size, name);
  }

  /** A name is gone: whoever watches the directory is told, as for an unlink. */
  deleted(parent: number, child: number, name: Uint8Array): number {
    setU53(this.#dv, BODY + NotifyDeleteOut.at.parent, parent);
    setU53(this.#dv, BODY + NotifyDeleteOut.at.child, child);
    this.#dv.setUint32(BODY + NotifyDeleteOut.at.namelen, name.length, true);
    this.#dv.setUint32(BODY + NotifyDeleteOut.at.padding, 0, true);
    return this.#sendName(Notify.DELETE, NotifyDeleteOut.size, name);
  }

  /** Asks for every request that was read and is not answered to be sent again: a server has died with them. Linux 6.9. */
  resend(): number {
    return this.#send(Notify.RESEND, 0);
  }

  /**
   * Puts a file's data into the page cache: at most MAX_WRITE_BYTES at once.
   * @param fill writes them to a page-aligned address; returns how many bytes it wrote, or a negative error number
   */
  store(nodeId: number, offset: number, bytes: number, fill: (address: number, bytes: number) => number): number {
    if (bytes > MAX_WRITE_BYTES) return -constants.errno.EINVAL;
    const got = fill(this.#message.address + DATA, bytes);
    if (got <= 0) return got;
    setU53(this.#dv, BODY + NotifyStoreOut.at.nodeid, nodeId);
    setU53(this.#dv, BODY + NotifyStoreOut.at.offset, offset);
    this.#dv.setUint32(BODY + NotifyStoreOut.at.size, got, true);
    this.#dv.setUint32(BODY + NotifyStoreOut.at.padding, 0, true);
    return this.#send(Notify.STORE, NotifyStoreOut.size + got);
  }

  #sendName(code: number, bodyBytes: number, name: Uint8Array): number {
    if (name.length === 0 || name.length > MAX_NAME_BYTES) return -constants.errno.EINVAL;
    const at = BODY + bodyBytes;
    this.#message.bytes.set(name, at);
    this.#message.bytes[at + name.length] = 0;
    return this.#send(code, bodyBytes + name.length + 1);
  }

  #send(code: number, bodyBytes: number): number {
    const length = BODY + bodyBytes;
    this.#dv.setUint32(OutHeader.at.len, length, true);
    this.#dv.setInt32(OutHeader.at.error, code, true);
    this.#dv.setUint32(OutHeader.at.unique, 0, true);
    this.#dv.setUint32(OutHeader.at.unique + 4, 0, true);
    return Math.min(writeFrom(this.#fd, this.#message.address, length), 0);
  }
}
