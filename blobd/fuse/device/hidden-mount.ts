import { closeSync, mkdtempSync, openSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unmount } from "../../sys/index.ts";
import type { FileSystemSource } from "./job.ts";
import { FuseMount } from "./mount.ts";

/**
 * A mount that nobody sees: reached through a descriptor of its folder, and gone with this process. For files that are made for
 * one mapping.
 */
export class HiddenMount {
  /** Of the mounted folder. */
  readonly folderFd: number;
  readonly #mount: FuseMount;

  private constructor(folderFd: number, mount: FuseMount) {
    this.folderFd = folderFd;
    this.#mount = mount;
  }

  /**
   * Mounts the file system, with one thread.
   * @throws SysError when that is not allowed: it takes root
   */
  static async start(fileSystem: FileSystemSource, log: (line: string) => void): Promise<HiddenMount> {
    const target = mkdtempSync(join(tmpdir(), "blobd-hidden-"));
    try {
      const mount = await FuseMount.start({ target, source: "blobd", threads: 1, log, fileSystem });
      let folderFd = -1;
      try {
        folderFd = openSync(target, "r");
        unmount(target, { lazy: true });
      } catch (error) {
        // Nobody would have it to close it.
        if (folderFd >= 0) closeSync(folderFd);
        await mount.abort();
        throw error;
      }
      return new HiddenMount(folderFd, mount);
    } finally {
      rmdirSync(target);
    }
  }

  async close(): Promise<void> {
    closeSync(this.folderFd);
    await this.#mount.abort();
  }
}
