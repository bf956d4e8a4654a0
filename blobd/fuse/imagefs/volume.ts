import { FormatError } from "../../../formats/bytes/index.ts";
import {
  BlockRun,
  decodeInode,
  ErofsInode,
  type ErofsReader,
  RawDirBlock,
  RawXattrs,
} from "../../../formats/erofs/index.ts";
import { ROOT_ID } from "../../../formats/fuse/index.ts";
import { S_IFREG } from "../../../formats/tree/index.ts";
import type { DaxWindow } from "../dax-window.ts";
import { DirentWriter } from "../dirents.ts";
import { IoVector } from "../io-vector.ts";
import { MappingPieces } from "../mapping-pieces.ts";
import { AbsentData } from "./absent-data.ts";
import { daxFrom, type ImageConfig } from "./config.ts";
import { EOPNOTSUPP, EUCLEAN } from "./linux.ts";
import { type ImageShared, openShared } from "./shared.ts";

/**
 * An image in the hands of one thread: what its handlers work with.
 *
 * A node ID is the inode's NID and 2, the root's is 1, as FUSE wants it. So no table is kept, nothing is forgotten, and a node
 * ID means the same after a restart. One that a hostile guest makes up names whatever lies there in the image, if that can be
 * read as an inode: the guest sees no byte that is not the image's.
 */
export class ImageVolume {
  readonly shared: ImageShared;
  readonly window: DaxWindow | undefined;
  readonly reader: ErofsReader;
  /** Files from this size on are to be mapped; infinite when none is. */
  readonly daxFromBytes: number;
  readonly dirents = new DirentWriter();
  readonly dirBlock = new RawDirBlock();
  readonly xattrs: RawXattrs;
  /** Where some of the data may not be there yet. */
  readonly absent: AbsentData | undefined;
  readonly run = new BlockRun();
  readonly pieces = new MappingPieces();
  /** Part of a request's room. */
  readonly part = new IoVector();
  /** Memory of ours that is read into. */
  readonly target = new IoVector(1);
  /** The node a request names, and one that it leads to. */
  readonly inode = new ErofsInode();
  readonly child = new ErofsInode();

  constructor(config: ImageConfig, shared: ImageShared, window: DaxWindow | undefined) {
    this.shared = shared;
    const from = daxFrom(config);
    this.window = from === null ? undefined : window;
    this.daxFromBytes = this.window === undefined ? Number.POSITIVE_INFINITY : from!;
    this.reader = openShared(shared, false);
    this.xattrs = new RawXattrs(this.reader.image);
    this.absent = shared.lazy.some((device) => device !== null) ? new AbsentData(shared.lazy) : undefined;
  }

  /** Decodes a node's inode into `inode`. @throws FormatError */
  load(nodeId: number): ErofsInode {
    return decodeInode(this.reader.image, this.nidOf(nodeId), this.inode);
  }

  nidOf(nodeId: number): number {
    return nodeId === ROOT_ID ? this.reader.rootNid : nodeId - 2;
  }
  nodeIdOf(nid: number): number {
    return nid === this.reader.rootNid ? ROOT_ID : nid + 2;
  }

  isMapped(inode: ErofsInode): boolean {
    return inode.size >= this.daxFromBytes && inode.type === S_IFREG;
  }
}

/**
 * The status for what a handler threw: the image is damaged (EUCLEAN, as EROFS says in Linux), or has what is not served
 * (EOPNOTSUPP).
 * @throws anything else
 */
export function statusOfImage(error: unknown): number {
  if (!(error instanceof FormatError) || error.field.startsWith("fuse_")) throw error;
  return error.code === "ERR_UNSUPPORTED" ? -EOPNOTSUPP : -EUCLEAN;
}
