import { closeSync, mkdtempSync, openSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FuseMount } from "../../fuse/device/index.ts";
import { openAt, unmount } from "../../sys/index.ts";

/**
 * Aliases of files for a VMM that looks at a file's size before it maps it.
 *
 * QEMU maps whole pages, and refuses a range that reaches behind the file's end: the last page of nearly every file. An
 * alias is a file of a FUSE file system of our own whose mmap(2) the kernel passes through to the file itself (FUSE
 * passthrough, Linux 6.9), so that memory is the same, but whose size is what we say. A range can so be mapped as a whole,
 * whatever the file's size is and becomes; pages behind the end do not exist, and appear when the file grows.
 *
 * The file system is mounted for this process alone: a mount that nobody sees, reached through a descriptor. Mappings do not
 * need it any longer, and outlive it.
 */
export class Aliases {
  /** Of the mounted folder. */
  readonly folderFd: number;
  readonly #mount: FuseMount;

  private constructor(folderFd: number, mount: FuseMount) {
    this.folderFd = folderFd;
    this.#mount = mount;
  }

  /**
   * Mounts the file system.
   * @throws SysError when that is not allowed: it takes root
   */
  static async start(log: (line: string) => void): Promise<Aliases> {
    const shared = new SharedArrayBuffer(4);
    const target = mkdtempSync(join(tmpdir(), "blobd-aliases-"));
    try {
      const mount = await FuseMount.start({
        target,
        source: "blobd",
        threads: 1,
        log,
        fileSystem: {
          module: new URL("./alias-file-system.js", import.meta.url).href,
          open: "openAliasFileSystem",
          args: [shared],
        },
      });
      Atomics.store(new Int32Array(shared), 0, mount.deviceFd);
      const folderFd = openSync(target, "r");
      unmount(target, { lazy: true });
      return new Aliases(folderFd, mount);
    } finally {
      rmdirSync(target);
    }
  }

  async close(): Promise<void> {
    closeSync(this.folderFd);
    await this.#mount.abort();
  }
}

const O_RDWR = 2;
const O_CLOEXEC = 0o2000000;
let counter = 0;

/**
 * Opens an alias of a descriptor of this process, from any thread.
 * @param threadId makes names of several threads differ
 * @returns a descriptor, or a negative error number
 */
export function openAlias(folderFd: number, fd: number, threadId: number): number {
  counter = (counter + 1) % 1_000_000_000;
  return openAt(folderFd, `${fd}.${threadId}${String(counter).padStart(9, "0")}`, O_RDWR | O_CLOEXEC);
}
