import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { InitFlag2 } from "../../../formats/fuse/index.ts";
import { tableFd } from "../../fuse/blobs/index.ts";
import { type Attached, attach, removeMount, type SessionTerms } from "../../fuse/device/index.ts";
import { Store } from "../../store/index.ts";
import { holdAlone, isDead, noteProcesses } from "./alone.ts";
import { type Held, MOUNT_FD, type Noted } from "./messages.ts";
import { makeMountPoint } from "./mount-point.ts";

/** So many processes in a row that die before they have served for MIN_LIFE_MS, and it is given up. */
const MAX_SHORT_LIVES = 5;
const MIN_LIFE_MS = 2000;
/** How often is looked whether the process is alive, in ms. */
const LOOK_MS = 100;

export interface KeeperOptions {
  readonly storeRoot: string;
  readonly mountPoint: string;
  /** Starts the process that serves: a command, to which descriptors and a channel are added. */
  readonly command: readonly string[];
  readonly log: (line: string) => void;
}

/**
 * Holds a service's mount while processes serve it, one after the other: when one dies, the next goes on with the same files, and
 * is sent what was asked of the other. Whoever has mapped them waits meanwhile.
 *
 * ```
 *  keeper   /dev/fuse, table of blobs (memfd), lock, origins ────────┐ descriptors from 3 on, and by messages
 *  process  serves: blobd serve --held      ✝ ──► its successor ◄────┘
 * ```
 * @returns its exit status, when the service has ended
 * @throws SysError when it cannot be mounted; Error when another one serves the store, or no process can serve it
 */
export async function keepServing(options: KeeperOptions): Promise<number> {
  const { storeRoot, mountPoint, log } = options;
  // Makes the store when there is none.
  (await Store.open(storeRoot)).close();
  const lockFd = await holdAlone(storeRoot, mountPoint);
  try {
    makeMountPoint(mountPoint);
    const attached = attach({ target: mountPoint, source: storeRoot, subtype: "blobd", readOnly: true });
    try {
      return await new Keeper(attached, lockFd, options.command, log).run();
    } finally {
      removeMount(attached);
      closeSync(attached.fd);
    }
  } finally {
    closeSync(lockFd);
  }
}

class Keeper {
  readonly #attached: Attached;
  /** The processes have it too: one that has lost its keeper still serves the store alone. */
  readonly #lockFd: number;
  readonly #command: readonly string[];
  readonly #log: (line: string) => void;
  readonly #tableFd = tableFd();
  readonly #origins = new Map<string, string>();
  #terms: SessionTerms | null = null;
  #child: ChildProcess | undefined;
  #isStopping = false;

  constructor(attached: Attached, lockFd: number, command: readonly string[], log: (line: string) => void) {
    this.#attached = attached;
    this.#lockFd = lockFd;
    this.#command = command;
    this.#log = log;
  }

  async run(): Promise<number> {
    const stop = (signal: NodeJS.Signals) => {
      this.#isStopping = true;
      this.#child?.kill(signal);
    };
    process.on("SIGINT", stop).on("SIGTERM", stop);
    for (let shortLives = 0; ; ) {
      const startMs = performance.now();
      const ended = await this.#serve();
      if (ended === 0 || this.#isStopping) return ended;
      if (this.#terms === null) return ended; // It has never served, and has said why.
      if ((this.#terms.flags2 & InitFlag2.HAS_RESEND) === 0) {
        this.#log(
          "the process that served has died; Linux before 6.9 does not send again what was asked of it: the mount ends",
        );
        return ended;
      }
      shortLives = performance.now() - startMs < MIN_LIFE_MS ? shortLives + 1 : 0;
      if (shortLives === MAX_SHORT_LIVES) throw new Error(`blobd serve has ended ${shortLives} times in a row`);
      this.#log("the process that served has died, another one takes over");
    }
  }

  /** One process, from its start to its end. @returns its exit status, 1 when a signal has ended it */
  #serve(): Promise<number> {
    const [program, ...args] = this.#command;
    const child = spawn(program!, args, {
      stdio: ["ignore", "inherit", "inherit", this.#attached.fd, this.#tableFd, this.#lockFd, "ipc"],
    });
    this.#child = child;
    if (child.pid !== undefined) noteProcesses(this.#lockFd, this.#attached.target, process.pid, child.pid);
    child.on("message", (noted) => this.#note(noted as Noted));
    const held: Held = {
      attached: { ...this.#attached, fd: MOUNT_FD },
      terms: this.#terms,
      origins: [...this.#origins],
    };
    child.send(held, (error) => {
      if (error !== null) this.#log(error.message); // It has ended already.
    });
    return new Promise((resolve, reject) => {
      let looks = 0;
      const look = setInterval(() => {
        looks = isDead(child.pid!) ? looks + 1 : 0;
        // Its end is told sooner if no thread of it is left.
        if (looks === 2) end(1);
      }, LOOK_MS);
      const end = (status: number) => {
        clearInterval(look);
        resolve(status);
      };
      child.once("error", (error) => {
        clearInterval(look);
        reject(error);
      });
      child.once("exit", (code) => end(code ?? 1));
    });
  }

  #note(noted: Noted): void {
    if ("terms" in noted) this.#terms = noted.terms;
    else if ("shown" in noted) this.#origins.set(...noted.shown);
    else this.#origins.delete(noted.gone);
  }
}
