import { closeSync } from "node:fs";
import { BroadcastChannel } from "node:worker_threads";
import { getU53, setU53 } from "../../../formats/bytes/index.ts";
import type { PassthroughHooks } from "../../fuse/passthrough/index.ts";
import { allocAligned, POLLOUT, PollSet, UnixSocket, WOULD_BLOCK } from "../../sys/index.ts";

/**
 * The way by which files that have lost their name get out of the process that serves them, so that the next one finds
 * them. A message is sent by the thread that serves the request, before the name goes: what is in the socket outlives the
 * process, and is taken out of it before another one starts.
 *
 * ```
 *  queue's thread ─┐
 *  queue's thread ─┼─ socket ─► whoever supervises: HoldReceiver.drain
 *  queue's thread ─┘            (when told that there is something, and when the process has died)
 * ```
 * Messages have one size and are sent by one call each, so those of several threads do not mix. A stream socket ends a
 * read behind a message with a descriptor, so descriptors come in the order of the messages that have one.
 */
const MESSAGE_BYTES = 16;
const HOLD = 1;
const RELEASE = 2;
/** Messages that one read takes. */
const BATCH = 256;
/** Files that are held at most: they all go to the next process in one message. What is beyond is lost with the process. */
const MAX_HELD = 2048;
/** On this channel threads say that they have put something into the socket. */
const NUDGES = "blobd-virtiofs-held";

/** In the main thread of the process that serves: hears that there is something to be taken out of the socket. */
export function hearHolds(told: () => void): void {
  const channel = new BroadcastChannel(NUDGES);
  channel.onmessage = told;
  channel.unref();
}

/** In a queue's thread: the hooks that keep files. @param fd the socket */
export function holdHooks(fd: number): PassthroughHooks {
  const nudges = new BroadcastChannel(NUDGES);
  nudges.unref();
  const nudge = () => nudges.postMessage(null);
  const socket = new UnixSocket(fd);
  const { address, bytes } = allocAligned(MESSAGE_BYTES);
  const dv = new DataView(bytes.buffer, bytes.byteOffset, MESSAGE_BYTES);
  const room = new PollSet(1);
  room.add(fd, POLLOUT);
  const send = (kind: number, fh: number, fds: readonly number[]) => {
    dv.setUint32(0, kind, true);
    setU53(dv, 8, fh);
    // Anything else than no room means that the other side is gone, and this process with it.
    while (socket.send(address, MESSAGE_BYTES, fds) === WOULD_BLOCK) {
      nudge();
      room.wait(-1);
    }
    nudge();
  };
  return { hold: (fh, file) => send(HOLD, fh, [file]), release: (fh) => send(RELEASE, fh, []) };
}

/** The other side: what is held, by file handle. The descriptors are its own. */
export class HoldReceiver {
  readonly #socket: UnixSocket;
  readonly #held: Map<number, number>;
  readonly #buffer = allocAligned(BATCH * MESSAGE_BYTES);
  readonly #dv = new DataView(this.#buffer.bytes.buffer, this.#buffer.bytes.byteOffset, BATCH * MESSAGE_BYTES);

  /** @param held where it puts them: a map that outlives it */
  constructor(fd: number, held: Map<number, number>) {
    this.#socket = new UnixSocket(fd);
    this.#held = held;
  }

  /** Takes what is there. */
  drain(): void {
    const fds: number[] = [];
    for (;;) {
      const got = this.#socket.receive(this.#buffer.address, BATCH * MESSAGE_BYTES, fds);
      if (got <= 0) break;
      for (let at = 0; at + MESSAGE_BYTES <= got; at += MESSAGE_BYTES) {
        const fh = getU53(this.#dv, at + 8, "held file handle");
        releaseHeld(this.#held, fh);
        const fd = this.#dv.getUint32(at, true) === HOLD ? fds.shift() : undefined;
        if (fd === undefined) continue;
        if (this.#held.size < MAX_HELD) this.#held.set(fh, fd);
        else closeSync(fd);
      }
    }
    for (const fd of fds) closeSync(fd);
  }

  close(): void {
    this.#socket.close();
  }
}

function releaseHeld(held: Map<number, number>, fh: number): void {
  const fd = held.get(fh);
  if (fd === undefined) return;
  closeSync(fd);
  held.delete(fh);
}
