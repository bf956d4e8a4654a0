import { constants } from "node:os";
import { getU53, setU53 } from "../../../formats/bytes/index.ts";
import {
  Attr,
  AttrOut,
  CopyFileRangeIn,
  EntryOut,
  GetattrIn,
  Kstatfs,
  LinkIn,
  ReadIn,
  RenameIn,
  ROOT_ID,
} from "../../../formats/fuse/index.ts";
import { removeMappings } from "../dax-requests.ts";
import type { DaxWindow } from "../dax-window.ts";
import { DirentWriter } from "../dirents.ts";
import { openExport } from "../exports/index.ts";
import type { FileSystem } from "../filesystem.ts";
import { replyAttr, replyEntry, replyOpen, type Validity } from "../replies.ts";
import { type FuseRequest, IN_ARGS, OUT_ARGS } from "../request.ts";
import { OPENED, putDirectory, wanted, without } from "./common.ts";
import { Directories, type PseudoEntry } from "./directories.ts";
import { MOUNTS, MountTable, NODE_UNIT, type TableMemory } from "./mount-table.ts";
import { patchDirents, patchEntry, patchIno, patchRootEntry } from "./patch.ts";
import { TaggedWindow } from "./tagged-window.ts";

const { EIO, EISDIR, ENODATA, ENODEV, ENOENT, ENOSYS, EOPNOTSUPP, EROFS, ESTALE, EXDEV } = constants.errno;
const DT_DIR = 4;
/** Mounts come and go. */
const SOON: Validity = { seconds: 1, nanos: 0 };

/** What a mount's file system may be asked, and how the replies are built. */
const PLAIN = [
  "readlink",
  "read",
  "write",
  "lseek",
  "statfs",
  "setxattr",
  "getxattr",
  "listxattr",
  "removexattr",
] as const;
const ENTRIES = ["lookup", "symlink", "mknod", "mkdir", "create", "tmpfile"] as const;
const ATTRS = ["getattr", "setattr"] as const;
const OTHERS = ["unlink", "rmdir", "fallocate", "setupMapping"] as const;
type Name = (typeof PLAIN | typeof OPENED | typeof ENTRIES | typeof ATTRS | typeof OTHERS)[number];

/** What changes something, refused in a pseudo directory. */
const CHANGES: ReadonlySet<string> = new Set([
  ...["symlink", "mknod", "mkdir", "create", "tmpfile", "setattr", "unlink", "rmdir", "write", "fallocate"],
  ...["setxattr", "removexattr"],
]);

/**
 * Serves a pseudo root with several mounts under it, for one thread.
 *
 * ```
 *  node ID   │ mount's number, 8 bits │ node ID of its file system, 43 bits │     number 0: pseudo directories
 * ```
 * A request goes to the file system that its node belongs to; file handles are told apart by the node that comes with them. What
 * is agreed on at INIT holds for all mounts, so it is what every kind of them can live with; STATX, which images do not have, is
 * not offered, nor are locks on the host.
 */
export function openRoot(memory: TableMemory, window?: DaxWindow): FileSystem {
  const root = new Root(memory, window);
  const fs: FileSystem = {
    init: () => wanted(window !== undefined),
    destroy: () => root.destroy(),
    forget: (nodeId, lookups) => root.forget(nodeId, lookups),
    lookup: (request) => root.run(request, "lookup"),
    readdir: (request, plus) => root.readdir(request, plus),
    rename: (request, flags) => root.second(request, IN_ARGS + RenameIn.at.newdir, (to) => to.rename?.(request, flags)),
    link: (request) => root.link(request),
    copyFileRange: (request) =>
      root.second(request, IN_ARGS + CopyFileRangeIn.at.nodeidOut, (to) => to.copyFileRange?.(request)),
    removeMapping: (request) => (window === undefined ? -ENODEV : removeMappings(request, window)),
    openMapped: (nodeId) => root.on(nodeId, (to, id) => to.openMapped?.(id)),
    readMapped: (nodeId, ...range) => root.on(nodeId, (to, id) => to.readMapped?.(id, ...range)),
  };
  for (const name of [...PLAIN, ...OPENED, ...ENTRIES, ...ATTRS, ...OTHERS])
    fs[name] = (request) => root.run(request, name);
  return fs;
}

class Root {
  readonly #table: MountTable;
  readonly #directories: Directories;
  readonly #window: DaxWindow | undefined;
  readonly #dirents = new DirentWriter();
  /** This thread's file systems, by mount, each with the generation it is of. */
  readonly #opened: ({ readonly generation: number; readonly fileSystem: FileSystem } | undefined)[] = [];

  constructor(memory: TableMemory, window: DaxWindow | undefined) {
    this.#table = new MountTable(memory);
    this.#directories = new Directories(this.#table);
    this.#window = window;
  }

  /** A request of a node: to its mount, or to a pseudo directory. */
  run(request: FuseRequest, name: Name): number {
    const mount = Math.floor(request.nodeId / NODE_UNIT);
    if (mount === 0) return this.#pseudo(request, name);
    if (mount >= MOUNTS || !this.#table.enter(mount)) return -ESTALE;
    try {
      request.nodeId -= mount * NODE_UNIT;
      return this.#inMount(request, name, mount);
    } finally {
      this.#table.leave(mount);
    }
  }

  #inMount(request: FuseRequest, name: Name, mount: number): number {
    const fileSystem = this.#fileSystem(mount);
    const handler = fileSystem[name];
    if (handler === undefined) return without(request, name);
    // Bound to its file system, as the server binds it.
    const status = handler.call(fileSystem, request);
    // "Not implemented" would end it for all mounts.
    if (status === -ENOSYS) return -EOPNOTSUPP;
    if (status !== 0) return status;
    if ((ENTRIES as readonly string[]).includes(name)) {
      if (patchEntry(request, OUT_ARGS, mount)) this.#table.addKnown(mount, 1);
    } else if (name === "getattr" || name === "setattr")
      patchIno(request, OUT_ARGS + AttrOut.at.attr + Attr.at.ino, mount);
    return 0;
  }

  readdir(request: FuseRequest, plus: boolean): number {
    const mount = Math.floor(request.nodeId / NODE_UNIT);
    if (mount === 0) return this.#readPseudo(request, plus);
    return this.on(request.nodeId, (fileSystem, id) => {
      request.nodeId = id;
      const status = fileSystem.readdir?.(request, plus) ?? -EOPNOTSUPP;
      if (status === 0) this.#table.addKnown(mount, patchDirents(request, plus, mount));
      return status;
    });
  }

  /** A request with a second node, whose ID lies at `at`: both must be of one mount. */
  second(request: FuseRequest, at: number, work: (fileSystem: FileSystem) => number | undefined): number {
    const other = getU53(request.in, at, "fuse_in.nodeid");
    const mount = Math.floor(request.nodeId / NODE_UNIT);
    if (mount !== Math.floor(other / NODE_UNIT)) return -EXDEV;
    if (mount === 0) return -EROFS;
    return this.on(request.nodeId, (fileSystem, id) => {
      request.nodeId = id;
      setU53(request.in, at, other - mount * NODE_UNIT);
      return work(fileSystem);
    });
  }

  link(request: FuseRequest): number {
    const mount = Math.floor(request.nodeId / NODE_UNIT);
    const status = this.second(request, IN_ARGS + LinkIn.at.oldnodeid, (to) => to.link?.(request));
    if (status === 0 && patchEntry(request, OUT_ARGS, mount)) this.#table.addKnown(mount, 1);
    return status;
  }

  /** Something with a node of a mount. */
  on(nodeId: number, work: (fileSystem: FileSystem, id: number) => number | undefined): number {
    const mount = Math.floor(nodeId / NODE_UNIT);
    if (mount === 0 || mount >= MOUNTS || !this.#table.enter(mount)) return -ESTALE;
    try {
      const status = work(this.#fileSystem(mount), nodeId - mount * NODE_UNIT) ?? -EOPNOTSUPP;
      return status === -ENOSYS ? -EOPNOTSUPP : status;
    } finally {
      this.#table.leave(mount);
    }
  }

  forget(nodeId: number, lookups: number): void {
    const mount = Math.floor(nodeId / NODE_UNIT);
    if (mount === 0 || mount >= MOUNTS) return;
    this.#table.addKnown(mount, -lookups);
    this.on(nodeId, (fileSystem, id) => {
      fileSystem.forget(id, lookups);
      return 0;
    });
  }

  destroy(): void {
    for (let mount = 1; mount < MOUNTS; mount++)
      if (this.#table.isLive(mount))
        this.on(mount * NODE_UNIT, (fileSystem) => {
          fileSystem.destroy();
          return 0;
        });
    this.#table.forgetAll();
    this.#window?.removeAll();
  }

  /** This thread's file system of a mount that was entered. */
  #fileSystem(mount: number): FileSystem {
    const generation = this.#table.generation(mount);
    const opened = this.#opened[mount];
    if (opened?.generation === generation) return opened.fileSystem;
    const text = this.#table.text(mount);
    if (text === null) throw new Error(`mount ${mount} is gone, and entered`);
    const window = this.#window && new TaggedWindow(this.#window, mount * NODE_UNIT);
    const fileSystem = openExport(text.of, window);
    this.#opened[mount] = { generation, fileSystem };
    return fileSystem;
  }

  #pseudo(request: FuseRequest, name: Name): number {
    if (name === "lookup") return this.#lookupPseudo(request);
    if (this.#directories.get(request.nodeId) === undefined) return -ESTALE;
    if (CHANGES.has(name)) return -EROFS;
    switch (name) {
      case "getattr":
        putDirectory(request, replyAttr(request, SOON), request.nodeId);
        return 0;
      case "statfs":
        request.output.bytes.fill(0, OUT_ARGS, OUT_ARGS + Kstatfs.size);
        request.out.setUint32(OUT_ARGS + Kstatfs.at.namelen, 255, true);
        request.outputBytes = Kstatfs.size;
        return 0;
      case "opendir":
        return replyOpen(request, 0, 0);
      case "releasedir":
      case "fsyncdir":
      case "access":
      case "syncfs":
        return 0;
      case "getxattr":
      case "listxattr":
        return -ENODATA;
      default:
        return -EISDIR;
    }
  }

  #lookupPseudo(request: FuseRequest): number {
    const { nameAt, nameBytes } = request;
    const directory = this.#directories.get(request.nodeId);
    if (directory === undefined) return -ESTALE;
    const name = request.input.bytes.toString("latin1", nameAt, nameAt + nameBytes);
    if (name === "." || name === "..") {
      const id = name === "." ? request.nodeId : directory.parent;
      putDirectory(request, replyEntry(request, id, 0, SOON, SOON), id);
      return 0;
    }
    const entry = directory.byName.get(name);
    if (entry === undefined) return -ENOENT;
    if (entry.mount !== 0) return this.#lookupMount(request, entry);
    putDirectory(request, replyEntry(request, entry.id, 0, SOON, SOON), entry.id);
    return 0;
  }

  /** A mount's root: its file system is asked for the attributes, of which an entry is made. */
  #lookupMount(request: FuseRequest, { mount }: PseudoEntry): number {
    const { in: dv, out, output } = request;
    for (let at = 0; at < GetattrIn.size; at += 4) dv.setUint32(IN_ARGS + at, 0, true);
    request.nodeId = ROOT_ID;
    const status = this.on(mount * NODE_UNIT + ROOT_ID, (fileSystem) => fileSystem.getattr?.(request));
    if (status !== 0) return status === -ESTALE ? -ENOENT : status;
    const [seconds, nanos] = [
      getU53(out, OUT_ARGS + AttrOut.at.attrValid, "attr_valid"),
      out.getUint32(OUT_ARGS + AttrOut.at.attrValidNsec, true),
    ];
    output.bytes.copyWithin(OUT_ARGS + EntryOut.at.attr, OUT_ARGS + AttrOut.at.attr, OUT_ARGS + AttrOut.size);
    replyEntry(request, ROOT_ID, 0, SOON, { seconds, nanos });
    if (!patchRootEntry(request, mount)) return -EIO;
    this.#table.addKnown(mount, 1);
    return 0;
  }

  #readPseudo(request: FuseRequest, plus: boolean): number {
    const directory = this.#directories.get(request.nodeId);
    if (directory === undefined) return -ESTALE;
    const from = getU53(request.in, IN_ARGS + ReadIn.at.offset, "fuse_read_in.offset");
    this.#dirents.start(request, plus);
    for (let index = from; index < directory.entries.length; index++) {
      const { name, id, mount } = directory.entries[index]!;
      if (!this.#dirents.fits(name.length)) break;
      this.#dirents.add(id + mount * NODE_UNIT, index + 1, 0, DT_DIR, name, 0, name.length);
    }
    return 0;
  }
}
