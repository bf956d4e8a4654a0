import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, readFileSync } from "node:fs";
import { tableFd } from "../fuse/blobs/index.ts";
import { type Attached, attach, removeMount, type SessionTerms } from "../fuse/device/index.ts";
import { Store } from "../store/index.ts";
import { makeMountPoint } from "./mount-point.ts";
import type { Keeping } from "./take-over.ts";

/** Where a serving process finds the descriptors that are held for it. */
const MOUNT_FD = 3;
const TABLE_FD = 4;

/** To a serving process, at its start. */
interface Held {
  readonly attached: Attached;
  readonly terms: SessionTerms | null;
  readonly origins: readonly (readonly [key: string, origin: string])[];
}

/** From a serving process: what its successor has to know. */
type Noted =
  | { readonly terms: SessionTerms }
  | { readonly shown: readonly [key: string, origin: string] }
  | { readonly gone: string };

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
 *  keeper   /dev/fuse, table of blobs (memfd), origins ──────────────┐ descriptors 3 and 4, and by messages
 *  process  serves: blobd serve --held      ✝ ──► its successor ◄────┘
 * ```
 * @returns its exit status, when the service has ended
 * @throws SysError when it cannot be mounted; Error when no process can serve it
 */
export async function keepServing(options: KeeperOptions): Promise<number> {
  const { storeRoot, mountPoint, log } = options;
  (await Store.open(storeRoot)).close();
  makeMountPoint(mountPoint);
  const attached = attach({ target: mountPoint, source: storeRoot, subtype: "blobd", readOnly: true });
  const keeper = new Keeper(attached, options.command, log);
  try {
    return await keeper.run();
  } finally {
    removeMount(attached);
    closeSync(attached.fd);
  }
}

class Keeper {
  readonly #attached: Attached;
  readonly #command: readonly string[];
  readonly #log: (line: string) => void;
  readonly #tableFd = tableFd();
  readonly #origins = new Map<string, string>();
  #terms: SessionTerms | null = null;
  #child: ChildProcess | undefined;
  #isStopping = false;

  constructor(attached: Attached, command: readonly string[], log: (line: string) => void) {
    this.#attached = attached;
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
      shortLives = performance.now() - startMs < MIN_LIFE_MS ? shortLives + 1 : 0;
      if (shortLives === MAX_SHORT_LIVES) throw new Error(`blobd serve has ended ${shortLives} times in a row`);
      this.#log("the process that served has died, another one takes over");
    }
  }

  /** One process, from its start to its end. @returns its exit status, 1 when a signal has ended it */
  #serve(): Promise<number> {
    const [program, ...args] = this.#command;
    const child = spawn(program!, args, {
      stdio: ["ignore", "inherit", "inherit", this.#attached.fd, this.#tableFd, "ipc"],
    });
    this.#child = child;
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

/**
 * Whether a process has been killed. A thread of it may still be in the kernel, storing a page that somebody's READ has locked
 * who waits for the successor: until then nobody is told of its end.
 */
function isDead(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) === "Z";
  } catch {
    return false; // Its end is told.
  }
}

/** In a process that was started by a keeper: what is held for it. */
export async function heldForUs(): Promise<Keeping> {
  const { attached, terms, origins } = await new Promise<Held>((resolve) => {
    process.once("message", (message) => resolve(message as Held));
  });
  // The channel must not keep a process that is done.
  process.channel?.unref();
  // Without its keeper the mount is held by this process alone.
  const note = (noted: Noted) => void (process.connected && process.send!(noted, () => {}));
  return {
    mount: { attached, terms },
    tableFd: TABLE_FD,
    origins: new Map(origins),
    started: (agreed) => note({ terms: agreed }),
    shown: (key, origin) => note({ shown: [key, origin] }),
    gone: (key) => note({ gone: key }),
  };
}
