import { InitFlag, InitFlag2 } from "../../../formats/fuse/index.ts";
import type { DaxWindow } from "../dax-window.ts";
import type { FileSystem, OfferedInit, WantedInit } from "../filesystem.ts";
import { getattr, setattr, statx } from "./attributes.ts";
import { Caller, prepareThread } from "./caller.ts";
import { type PassthroughConfig, type Settings, settingsOf } from "./config.ts";
import { readdir } from "./directory.ts";
import { link, mkdir, mknod, readlink, rename, rmdir, symlink, unlink } from "./entries.ts";
import type { PassthroughHooks } from "./hooks.ts";
import { copyFileRange, fallocate, lseek, read, write } from "./io.ts";
import { Locks } from "./locks.ts";
import { lookup } from "./lookup.ts";
import { openMapped, removeMapping, setupMapping } from "./mapping.ts";
import { create, open, tmpfile } from "./open.ts";
import { flush, fsync, fsyncdir, opendir, release, releasedir } from "./opened.ts";
import { enterSandbox } from "./sandbox.ts";
import { statfs, syncfs } from "./statfs.ts";
import { type Entrance, Volume } from "./volume.ts";
import { getxattr, listxattr, removexattr, setxattr } from "./xattrs.ts";

/**
 * Opens a host directory as a file system, for one thread.
 * @param shared what `createPassthroughShared` made, in the same process
 * @param window the device's, where there is one
 * @param hooks called by this thread
 */
export function openPassthrough(
  config: PassthroughConfig,
  shared: Entrance,
  window?: DaxWindow,
  hooks?: PassthroughHooks,
): FileSystem {
  const settings = settingsOf(config);
  prepareThread();
  if (settings.sandbox === "thread") enterSandbox(config.source);
  const caller = new Caller(settings);
  const v = new Volume(settings, shared, caller, settings.dax ? window : undefined, hooks);
  const fs: FileSystem = {
    init: (offered) => wanted(settings, offered, v.window !== undefined),
    destroy() {
      v.window?.removeAll();
      v.locks?.dropAll();
      v.data.closeAll();
      v.files.releaseAll();
      v.nodes.forgetAll();
    },
    forget: (nodeId, lookups) => v.nodes.forget(nodeId, lookups),
    lookup: (r) => lookup(v, r),
    getattr: (r) => getattr(v, r),
    statx: (r) => statx(v, r),
    setattr: (r) => setattr(v, r),
    readlink: (r) => readlink(v, r),
    symlink: (r) => symlink(v, r),
    mknod: (r) => mknod(v, r),
    mkdir: (r) => mkdir(v, r),
    unlink: (r) => unlink(v, r),
    rmdir: (r) => rmdir(v, r),
    rename: (r, flags) => rename(v, r, flags),
    link: (r) => link(v, r),
    open: (r) => open(v, r),
    create: (r) => create(v, r),
    tmpfile: (r) => tmpfile(v, r),
    read: (r) => read(v, r),
    write: (r) => write(v, r),
    flush: (r) => flush(v, r),
    release: (r) => release(v, r),
    fsync: (r) => fsync(v, r),
    fallocate: (r) => fallocate(v, r),
    lseek: (r) => lseek(v, r),
    copyFileRange: (r) => copyFileRange(v, r),
    opendir: (r) => opendir(v, r),
    readdir: (r, plus) => readdir(v, r, plus),
    releasedir: (r) => releasedir(v, r),
    fsyncdir: (r) => fsyncdir(v, r),
    statfs: (r) => statfs(v, r),
    syncfs: (r) => syncfs(v, r),
    setxattr: (r) => setxattr(v, r),
    getxattr: (r) => getxattr(v, r),
    listxattr: (r) => listxattr(v, r),
    removexattr: (r) => removexattr(v, r),
  };
  if (settings.posixLocks || settings.flock) {
    const locks = new Locks(v);
    v.locks = locks;
    fs.getlk = (r) => locks.getlk(r);
    fs.setlk = (r, wait) => locks.setlk(r, wait);
    fs.interrupt = (unique) => locks.interrupt(unique);
    fs.resume = () => locks.resume();
  }
  if (v.window !== undefined) {
    fs.setupMapping = (r) => setupMapping(v, r);
    fs.removeMapping = (r) => removeMapping(v, r);
    fs.openMapped = (nodeId) => openMapped(v, nodeId);
  }
  return fs;
}

/** What is asked of the kernel at INIT. */
function wanted(settings: Settings, _offered: OfferedInit, hasWindow: boolean): WantedInit {
  let flags =
    InitFlag.ASYNC_READ |
    InitFlag.ASYNC_DIO |
    InitFlag.ATOMIC_O_TRUNC |
    InitFlag.BIG_WRITES |
    InitFlag.PARALLEL_DIROPS |
    InitFlag.HANDLE_KILLPRIV_V2 |
    InitFlag.SETXATTR_EXT;
  let flags2 = InitFlag2.NO_EXPORT_SUPPORT;
  if (settings.readdirplus) flags |= InitFlag.DO_READDIRPLUS | InitFlag.READDIRPLUS_AUTO;
  if (settings.submounts) flags |= InitFlag.SUBMOUNTS;
  if (settings.writeback) flags |= InitFlag.WRITEBACK_CACHE;
  if (settings.posixLocks) flags |= InitFlag.POSIX_LOCKS;
  if (settings.flock) flags |= InitFlag.FLOCK_LOCKS;
  if (settings.posixAcl) flags |= InitFlag.POSIX_ACL | InitFlag.DONT_MASK;
  if (settings.noOpen) flags |= InitFlag.NO_OPEN_SUPPORT | InitFlag.NO_OPENDIR_SUPPORT;
  if (settings.cache === "auto") flags |= InitFlag.AUTO_INVAL_DATA;
  if (settings.cache === "always") flags |= InitFlag.CACHE_SYMLINKS;
  if (settings.cache === "never" || settings.cache === "metadata") flags2 |= InitFlag2.DIRECT_IO_ALLOW_MMAP;
  if (hasWindow) flags2 |= InitFlag2.HAS_INODE_DAX;
  return { flags, flags2 };
}
