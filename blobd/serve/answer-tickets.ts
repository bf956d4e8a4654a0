import { constants } from "node:os";
import type { ChunkFetcher } from "../fetch/index.ts";
import type { Tickets } from "../fuse/blobs/index.ts";
import { StoreError } from "../store/index.ts";

const { EIO, ENOSPC } = constants.errno;

/**
 * Fetches what readers of the mount wait for, until `signal`: then it takes one more ring.
 * @param fetcherAt of the blob at a place of the table; undefined when there is none any more
 */
export async function answerTickets(
  tickets: Tickets,
  fetcherAt: (place: number) => ChunkFetcher | undefined,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const { rings } = tickets;
    for (const { ticket, blob, offset, bytes } of tickets.take()) {
      const fetcher = fetcherAt(blob);
      if (fetcher === undefined) tickets.settle(ticket, EIO);
      else
        fetcher.ensure(offset, bytes).then(
          () => tickets.settle(ticket),
          (error: unknown) => {
            log((error as Error).message);
            tickets.settle(ticket, errnoOf(error));
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
