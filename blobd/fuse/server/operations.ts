import * as fuse from "../../../formats/fuse/index.ts";

/** What a name of a request may be. The server has checked it before a handler sees it. */
export const NameKind = {
  /** One component of a path: not empty, no `/`, not `.` nor `..`. */
  ENTRY: 0,
  /** The same, or `.` or `..`: by these the kernel asks for the parent of a node it has only the ID of. */
  LOOKUP: 1,
  /** Any text but an empty one: an attribute's name, what a symlink points to. */
  TEXT: 2,
  /** Nothing a handler looks at. */
  IGNORED: 3,
} as const;
type Name = (typeof NameKind)[keyof typeof NameKind];

/** What follows arguments and names. */
export const Tail = { NONE: 0, REST: 1, DATA: 2 } as const;

/** How the message of an operation is built. */
export interface Operation {
  readonly opcode: number;
  readonly name: string;
  /** Bytes of its argument structure. */
  readonly argBytes: number;
  readonly names: readonly Name[];
  /** REST: bytes in `input`, DATA: what a WRITE writes. */
  readonly tail: (typeof Tail)[keyof typeof Tail];
  /** Bytes of the smallest successful reply, without which the operation is not begun. */
  readonly replyBytes: number;
}

interface Layout {
  args?: { readonly size: number };
  names?: readonly Name[];
  tail?: Operation["tail"];
  reply?: number;
}

const { ENTRY, LOOKUP, TEXT, IGNORED } = NameKind;
const entry = fuse.EntryOut.size;
const opened = fuse.OpenOut.size;

/** `struct fuse_syncfs_in`. */
const SYNCFS_IN = { size: 8 };

const LAYOUTS: { readonly [O in keyof typeof fuse.Opcode]: Layout } = {
  LOOKUP: { names: [LOOKUP], reply: entry },
  FORGET: { args: fuse.ForgetIn },
  GETATTR: { args: fuse.GetattrIn, reply: fuse.AttrOut.size },
  SETATTR: { args: fuse.SetattrIn, reply: fuse.AttrOut.size },
  READLINK: {},
  SYMLINK: { names: [ENTRY, TEXT], reply: entry },
  MKNOD: { args: fuse.MknodIn, names: [ENTRY], reply: entry },
  MKDIR: { args: fuse.MkdirIn, names: [ENTRY], reply: entry },
  UNLINK: { names: [ENTRY] },
  RMDIR: { names: [ENTRY] },
  RENAME: { args: fuse.RenameIn, names: [ENTRY, ENTRY] },
  LINK: { args: fuse.LinkIn, names: [ENTRY], reply: entry },
  OPEN: { args: fuse.OpenIn, reply: opened },
  READ: { args: fuse.ReadIn },
  WRITE: { args: fuse.WriteIn, tail: Tail.DATA, reply: fuse.WriteOut.size },
  STATFS: { reply: fuse.Kstatfs.size },
  RELEASE: { args: fuse.ReleaseIn },
  FSYNC: { args: fuse.FsyncIn },
  SETXATTR: { args: fuse.SetxattrIn, names: [TEXT], tail: Tail.REST },
  GETXATTR: { args: fuse.GetxattrIn, names: [TEXT] },
  LISTXATTR: { args: fuse.GetxattrIn },
  REMOVEXATTR: { names: [TEXT] },
  FLUSH: { args: fuse.FlushIn },
  INIT: { args: { size: fuse.COMPAT_INIT_IN_BYTES }, tail: Tail.REST, reply: fuse.InitOut.size },
  OPENDIR: { args: fuse.OpenIn, reply: opened },
  READDIR: { args: fuse.ReadIn },
  RELEASEDIR: { args: fuse.ReleaseIn },
  FSYNCDIR: { args: fuse.FsyncIn },
  GETLK: { args: fuse.LkIn, reply: fuse.LkOut.size },
  SETLK: { args: fuse.LkIn },
  SETLKW: { args: fuse.LkIn },
  ACCESS: { args: fuse.AccessIn },
  CREATE: { args: fuse.CreateIn, names: [ENTRY], reply: entry + opened },
  INTERRUPT: { args: fuse.InterruptIn },
  BMAP: { args: fuse.BmapIn },
  DESTROY: {},
  IOCTL: { args: fuse.IoctlIn, tail: Tail.REST, reply: fuse.IoctlOut.size },
  POLL: { args: fuse.PollIn, reply: fuse.PollOut.size },
  NOTIFY_REPLY: { tail: Tail.REST },
  BATCH_FORGET: { args: fuse.BatchForgetIn, tail: Tail.REST },
  FALLOCATE: { args: fuse.FallocateIn },
  READDIRPLUS: { args: fuse.ReadIn },
  RENAME2: { args: fuse.Rename2In, names: [ENTRY, ENTRY] },
  LSEEK: { args: fuse.LseekIn, reply: fuse.LseekOut.size },
  COPY_FILE_RANGE: { args: fuse.CopyFileRangeIn, reply: fuse.WriteOut.size },
  SETUPMAPPING: { args: fuse.SetupmappingIn },
  REMOVEMAPPING: { args: fuse.RemovemappingIn, tail: Tail.REST },
  SYNCFS: { args: SYNCFS_IN },
  TMPFILE: { args: fuse.CreateIn, names: [IGNORED], reply: entry + opened },
  STATX: { args: fuse.StatxIn, reply: fuse.StatxOut.size },
  COPY_FILE_RANGE_64: { args: fuse.CopyFileRangeIn, reply: fuse.CopyFileRangeOut.size },
};

/** The operations by their opcodes. */
export const OPERATIONS: readonly (Operation | undefined)[] = tableOf(LAYOUTS);

function tableOf(layouts: typeof LAYOUTS): (Operation | undefined)[] {
  const table = new Array<Operation | undefined>(Math.max(...Object.values(fuse.Opcode)) + 1).fill(undefined);
  for (const [name, opcode] of Object.entries(fuse.Opcode)) {
    const { args, names, tail, reply } = layouts[name as keyof typeof layouts];
    table[opcode] = {
      opcode,
      name,
      argBytes: args?.size ?? 0,
      names: names ?? [],
      tail: tail ?? Tail.NONE,
      replyBytes: reply ?? 0,
    };
  }
  return table;
}
