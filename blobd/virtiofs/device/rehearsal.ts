import { closeSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { RANGE_BYTES, SESSION_WORDS } from "../../fuse/index.ts";
import {
  closePassthroughShared,
  createPassthroughShared,
  openPassthrough,
  type PassthroughConfig,
} from "../../fuse/passthrough/index.ts";
import { mapShared, memfd, unmapShared } from "../../sys/index.ts";
import { type QueueWorker, type RehearsalDriver, rehearseQueue } from "../../vhost/index.ts";
import { FsQueue, NotingMapper, ReadOnlyMemory } from "../queue/index.ts";
import { DaxWindowTable, WindowTable } from "../window/index.ts";
import { makeAsker } from "./rehearsal-asker.ts";
import {
  FILE_BYTES,
  FILES,
  MAPPED,
  playForgets,
  playMapping,
  playRound,
  restartSession,
  startSession,
} from "./rehearsal-script.ts";

/**
 * V8 compiles a function after it has run through so many bytes of code, some times over. Its own value is for programs in
 * which most code runs seldom: a guest's first thousands of requests of each kind would be interpreted.
 */
const INTERRUPT_BUDGET = "--interrupt-budget=4000";
/** Rounds of requests of all kinds, after which all is compiled. */
const ROUNDS = 80;
/** Rounds after which the session begins anew. */
const RESTART_EVERY = 8;
/** The queue of high priority gets FORGETs and INTERRUPTs only. */
const HIPRIO = 0;
const WINDOW_BYTES = 2 * RANGE_BYTES;
/** So few nodes that they take descriptors from each other. */
const LIMITS = { maxNodes: 2 * FILES, maxFiles: 64 } as const;
const ENODEV = 19;

/**
 * What a queue's thread does before there is a queue: it serves made-up requests on a folder of its own, so that the guest's
 * first requests find compiled code. It takes some 0.4 s of a processor, in pieces between which commands are obeyed.
 */
export class Rehearsal {
  readonly #hasWindow: boolean;
  #left = ROUNDS;

  /** @param hasWindow whether it is for a device with a DAX window */
  constructor(hasWindow: boolean) {
    this.#hasWindow = hasWindow;
  }

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
      for (let i = 0; i < FILES; i++) writeFileSync(join(folder, `file-${i}`), Buffer.alloc(FILE_BYTES, i));
      writeFileSync(join(folder, MAPPED), "");
      truncateSync(join(folder, MAPPED), RANGE_BYTES);
      this.#left = withWindow(this.#hasWindow, (window) => serve(folder, window, left, queue === HIPRIO, isAsked));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

/** Makes a window of a worker's; null for a device without. */
type WindowMaker = ((mapper: NotingMapper) => DaxWindowTable) | null;

function withWindow<T>(hasWindow: boolean, use: (make: WindowMaker) => T): T {
  if (!hasWindow) return use(null);
  const bytes = WindowTable.bytes(WINDOW_BYTES);
  const fd = memfd("rehearsal", bytes);
  const address = mapShared(fd, 0, bytes);
  try {
    const reopen = () => -ENODEV;
    return use((mapper) => new DaxWindowTable({ address, bytes: WINDOW_BYTES, mapper, reopen, alias: reopen }));
  } finally {
    unmapShared(address, bytes);
    closeSync(fd);
  }
}

/** Serves rounds on a folder. @returns how many are left */
function serve(
  source: string,
  makeWindow: WindowMaker,
  rounds: number,
  isHiprio: boolean,
  isAsked: () => boolean,
): number {
  const config: PassthroughConfig = { source, ...LIMITS };
  const shared = createPassthroughShared(config);
  // Code of a function that exists once is tied to that one; with a second one it is shared with those to come.
  openPassthrough(config, shared);
  let left = rounds;
  function* play(driver: RehearsalDriver): Generator<void> {
    const asker = makeAsker(driver);
    yield* startSession(asker);
    for (; left > 0 && !isAsked(); left--) {
      if (!isHiprio && left % RESTART_EVERY === 0) yield* restartSession(asker);
      yield* isHiprio ? playForgets(asker) : playRound(asker, left);
      if (makeWindow !== null && !isHiprio) yield* playMapping(asker, (isMap) => driver.answer(isMap));
    }
  }
  const makeQueue = (worker: QueueWorker, emptied: () => void) => {
    const mapper = new NotingMapper(worker);
    const window = makeWindow?.(mapper) ?? null;
    const fileSystem = openPassthrough(config, shared, window ?? undefined);
    const session = new Int32Array(SESSION_WORDS);
    const guestFiles = new ReadOnlyMemory([]);
    return new FsQueue({ worker, fileSystem, session, window, mapper, guestFiles, log: () => {}, emptied });
  };
  try {
    rehearseQueue(makeWindow === null ? 0 : WINDOW_BYTES, makeQueue, play);
    return left;
  } finally {
    closePassthroughShared(config, shared);
  }
}
