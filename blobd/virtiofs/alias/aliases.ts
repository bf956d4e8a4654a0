import { closeSync, fstatSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { abortConnection } from "../../fuse/device/index.ts";
import { createMount, openAt, openFuseDevice } from "../../sys/index.ts";
import type { AliasThreadData, AliasThreadMessage } from "./alias-thread.ts";

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
 *
 * Its server is a thread of this process, which the other threads wait for. Only that thread has the descriptor of /dev/fuse
 * (alias-thread.ts): when the process is killed, the descriptor goes with the thread, the kernel ends the connection, and
 * with it the waiting. A thread that waits for its own process could not be killed otherwise, nor so the process.
 */
export class Aliases {
  /** Of the mounted folder. */
  readonly folderFd: number;
  /** Number in fusectl; it is this mount's for as long as `folderFd` is open. */
  readonly #connection: number;
  readonly #ended: Promise<void>;
  readonly #onExit = () => void abortConnection(this.#connection);

  private constructor(folderFd: number, ended: Promise<void>) {
    this.folderFd = folderFd;
    this.#connection = minorOf(fstatSync(folderFd).dev);
    this.#ended = ended;
    // A thread in read(2) cannot be ended, and process.exit() would wait for it.
    process.on("exit", this.#onExit);
  }

  /**
   * Mounts the file system.
   * @throws SysError when that is not allowed: it takes root
   */
  static async start(log: (line: string) => void): Promise<Aliases> {
    const deviceFd = openFuseDevice();
    let folderFd = -1;
    try {
      const options = [`fd=${deviceFd}`, "rootmode=40000", "user_id=0", "group_id=0", "default_permissions"];
      folderFd = createMount({ type: "fuse", source: "blobd", options, attributes: ["nodev", "nosuid"] });
      const workerData: AliasThreadData = { deviceFd, folderFd };
      const worker = new Worker(new URL("./alias-thread.js", import.meta.url), {
        workerData,
        // It closes descriptors of a table that Node.js does not know of.
        trackUnmanagedFds: false,
      });
      const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
      await new Promise<void>((resolve, reject) => {
        worker.on("message", (message: AliasThreadMessage) => {
          if (message.kind === "serving") resolve();
          else log(message.line);
        });
        worker.on("error", (error) => {
          log(`the thread of aliases has failed: ${error.message}`);
          reject(error);
        });
      });
      return new Aliases(folderFd, ended);
    } catch (error) {
      if (folderFd >= 0) closeSync(folderFd);
      throw error;
    } finally {
      closeSync(deviceFd);
    }
  }

  async close(): Promise<void> {
    process.off("exit", this.#onExit);
    abortConnection(this.#connection);
    closeSync(this.folderFd);
    await this.#ended;
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

/** The minor number in a device's number. Linux include/linux/kdev_t.h, new_decode_dev. */
function minorOf(device: number): number {
  return (device & 0xff) | ((device >>> 12) & 0xfff00);
}
