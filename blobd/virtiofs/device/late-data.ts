import type { WorkerData } from "./queue-program.ts";

/**
 * What a thread gets later than it is started: a thread takes long to start, so those of a process that is kept ready
 * are started before it is known what they are to serve.
 */
export interface LateData {
  /** Words 0 and 1: bytes of the JSON text that follows, once it is there; the text. */
  readonly late: SharedArrayBuffer;
  /** Whether the device will have a window. */
  readonly hasWindow: boolean;
  /** Whether there is time until the data come. */
  readonly isStandby: boolean;
}

const TEXT_AT = 8;
/** Room for the text, in bytes: options with long lists of id maps. */
const MAX_TEXT_BYTES = 256 << 10;

export function makeLateData(): Pick<LateData, "late"> {
  return { late: new SharedArrayBuffer(TEXT_AT + MAX_TEXT_BYTES) };
}

/** Gives the data to all threads that wait for them. */
export function giveData({ late }: Pick<LateData, "late">, data: WorkerData): void {
  const text = Buffer.from(JSON.stringify(data));
  if (text.length > MAX_TEXT_BYTES) throw new RangeError(`a device's description of ${text.length} bytes`);
  new Uint8Array(late, TEXT_AT).set(text);
  const words = new Int32Array(late, 0, 1);
  Atomics.store(words, 0, text.length);
  Atomics.notify(words, 0);
}

/** Whether the data are there. */
export function isGiven({ late }: LateData): boolean {
  return Atomics.load(new Int32Array(late, 0, 1), 0) !== 0;
}

/** Waits for the data. @returns whether they were given within so many ms */
export function awaitData({ late }: LateData, ms: number): boolean {
  return Atomics.wait(new Int32Array(late, 0, 1), 0, 0, ms) !== "timed-out";
}

/** Waits until the data are given. */
export function takeData({ late }: LateData): WorkerData {
  const words = new Int32Array(late, 0, 1);
  Atomics.wait(words, 0, 0);
  const text = new Uint8Array(late, TEXT_AT, Atomics.load(words, 0)).slice();
  return JSON.parse(Buffer.from(text).toString()) as WorkerData;
}
