import { constants } from "node:os";
import type { ChunkFetcher } from "../fetch/index.ts";
import { sharedMs, type Tickets } from "../fuse/blobs/index.ts";
import { StoreError } from "../store/index.ts";

const { EIO, ENOSPC } = constants.errno;

/** Told of every read that had to wait: how long, and whether it got its data. */
export type OnFault = (seconds: number, isAnswered: boolean) => void;

/**
 * Fetches what readers of the mount wait for, until `signal`: then it takes one more ring.
 * @param fetcherAt of the blob at a place of the table; undefined when there is none any more
 */
export async function answerTickets(
  tickets: Tickets,
  fetcherAt: (place: number) => ChunkFetcher | undefined,
  log: (line: string) => void,
  onFault: OnFault,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const { rings } = tickets;
    for (const { ticket, blob, offset, bytes, askedMs } of tickets.take()) {
      const fetcher = fetcherAt(blob);
      const settle = (errno: number) => {
        tickets.settle(ticket, errno);
        onFault(Math.max(0, sharedMs() - askedMs) / 1000, errno === 0);
      };
      if (fetcher === undefined) settle(EIO);
      else
        fetcher.ensure(offset, bytes).then(
          () => settle(0),
          (error: unknown) => {
            log((error as Error).message);
            settle(errnoOf(error));
          },
        );
    }
    await tickets.waitForRing(rings);
  }
}

/** What a guest's read fails with. */
function errnoOf(error: unknown): number {
  return error instanceof StoreError && error.code === "ERR_STORE_FULL" ? ENOSPC : EIO;
}
