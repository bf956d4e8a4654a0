import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { socketPair } from "../../sys/index.ts";
import { HoldReceiver } from "../device/index.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { Wire } from "./wire.ts";

/** Where a worker process finds its end of the wire. */
export const WIRE_FD = 3;
/** Where it finds its end of the socket for files that have lost their name. */
export const HOLD_FD = 4;

export interface WorkerEvents {
  message(message: Exclude<FromWorker, { result: unknown } | { error: string } | { held: true }>, fds: number[]): void;
  /** The process has ended; nothing of it runs any more. */
  ended(reason: string): void;
}

/** A process that does the work, from its start, when it waits for what to do, to its end. */
export class WorkerProcess {
  readonly #child: ChildProcess;
  readonly #wire: Wire;
  /** Who waits for answers, in order. */
  readonly #waiting: { resolve(result: number | null): void; reject(error: Error): void }[] = [];
  readonly #holds: HoldReceiver;
  #isEnded = false;

  /** @param held where files go that it wants held, by their handles */
  constructor(events: WorkerEvents, held: Map<number, number>) {
    const [ours, theirs] = socketPair();
    const [holds, holder] = socketPair();
    this.#holds = new HoldReceiver(holds, held);
    const program = fileURLToPath(new URL("./worker-main.js", import.meta.url));
    this.#child = spawn(process.execPath, [...process.execArgv, program], {
      stdio: ["ignore", "inherit", "inherit", theirs, holder],
    });
    closeSync(theirs);
    closeSync(holder);
    this.#wire = new Wire(ours, {
      message: (body, fds) => this.#message(body as FromWorker, fds, events),
      // Whatever it does now, it does unseen: it has to be dead before another takes its place.
      closed: () => this.kill(),
    });
    const ended = (reason: string) => {
      if (this.#isEnded) return;
      this.#isEnded = true;
      this.#wire.close();
      const error = new WorkerEnded(reason);
      for (const { reject } of this.#waiting.splice(0)) reject(error);
      this.#holds.drain();
      this.#holds.close();
      events.ended(reason);
    };
    this.#child.once("exit", (code, signal) => ended(signal === null ? `exit status ${code}` : `signal ${signal}`));
    this.#child.once("error", (error) => ended(error.message));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** @throws WorkerEnded when it ends before it answers; Error when it answers that it could not */
  call(message: ToWorker, fds: readonly number[] = []): Promise<number | null> {
    if (this.#isEnded) return Promise.reject(new WorkerEnded("it had ended"));
    const answer = new Promise<number | null>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.#wire.send(message, fds);
    return answer;
  }

  kill(): void {
    if (!this.#isEnded) this.#child.kill("SIGKILL");
  }

  #message(message: FromWorker, fds: number[], events: WorkerEvents): void {
    if ("held" in message) {
      if (!this.#isEnded) this.#holds.drain();
      return;
    }
    if ("result" in message) this.#waiting.shift()?.resolve(message.result);
    else if ("error" in message) this.#waiting.shift()?.reject(new Error(message.error));
    else events.message(message, fds);
  }
}

/** A worker process ended while an answer was waited for. */
export class WorkerEnded extends Error {
  override readonly name = "WorkerEnded";
}
