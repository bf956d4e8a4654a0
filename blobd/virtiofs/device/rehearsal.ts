import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { SESSION_WORDS } from "../../fuse/index.ts";
import {
  closePassthroughShared,
  createPassthroughShared,
  openPassthrough,
  type PassthroughConfig,
} from "../../fuse/passthrough/index.ts";
import { type RehearsalDriver, rehearseQueue } from "../../vhost/index.ts";
import { FsQueue, NotingMapper, ReadOnlyMemory } from "../queue/index.ts";
import { FILES, makeAsker, playForgets, playRound, startSession } from "./rehearsal-script.ts";

/**
 * V8 compiles a function after it has run through so many bytes of code, some times over. Its own value is for programs in
 * which most code runs seldom: a guest's first thousands of requests of each kind would be interpreted.
 */
const INTERRUPT_BUDGET = "--interrupt-budget=4000";
/** Rounds of requests of all kinds, after which all is compiled. */
const ROUNDS = 80;
/** The queue of high priority gets FORGETs and INTERRUPTs only. */
const HIPRIO = 0;

const LIMITS = { maxNodes: 256, maxFiles: 64 } as const;

/**
 * What a queue's thread does before there is a queue: it serves made-up requests on a folder of its own, so that the guest's
 * first requests find compiled code. It takes 0.2 s of a processor, in pieces between which commands are obeyed.
 */
export class Rehearsal {
  #left = ROUNDS;

  /**
   * Goes on with it.
   * @param isAsked whether there is something else to do
   * @throws Error when it cannot, once
   */
  run(queue: number, isAsked: () => boolean): void {
    if (this.#left === 0 || isAsked()) return;
    setFlagsFromString(INTERRUPT_BUDGET);
    // Sooner or later some ArrayBuffer is detached, and V8 throws away all code that relies on there being none.
    const buffer = new ArrayBuffer(1);
    structuredClone(buffer, { transfer: [buffer] });
    const left = this.#left;
    this.#left = 0;
    const folder = mkdtempSync(join(tmpdir(), `blobd-rehearsal-${process.pid}-`));
    try {
      for (let i = 0; i < FILES; i++) writeFileSync(join(folder, `file-${i}`), Buffer.alloc(8192, i));
      this.#left = this.#serve(folder, queue, left, isAsked);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** @returns how many rounds are left */
  #serve(source: string, queue: number, rounds: number, isAsked: () => boolean): number {
    const config: PassthroughConfig = { source, ...LIMITS };
    const shared = createPassthroughShared(config);
    let left = rounds;
    function* play(driver: RehearsalDriver): Generator<void> {
      const asker = makeAsker(driver);
      yield* startSession(asker);
      for (; left > 0 && !isAsked(); left--) yield* queue === HIPRIO ? playForgets(asker) : playRound(asker, left);
    }
    try {
      rehearseQueue((worker, emptied) => {
        const fileSystem = openPassthrough(config, shared);
        // The queue asks it when it is empty.
        fileSystem.resume = emptied;
        const session = new Int32Array(SESSION_WORDS);
        return new FsQueue({
          ...{ worker, fileSystem, session, window: null },
          mapper: new NotingMapper(worker),
          guestFiles: new ReadOnlyMemory([]),
          log: () => {},
        });
      }, play);
      return left;
    } finally {
      closePassthroughShared(config, shared);
    }
  }
}
