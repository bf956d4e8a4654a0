import type { QueueContext } from "./context.ts";
import { HELD_COLUMNS, type Held, LEASE_SECONDS } from "./holding.ts";
import { settleFailure } from "./outcomes.ts";

/**
 * Gives the rows of silent workers to others: as a failed attempt, for it may have been the image that ended the worker.
 * @param leaseSeconds 0 when nobody else can be at work.
 * @returns How many.
 */
export async function giveBackLost(context: QueueContext, leaseSeconds = LEASE_SECONDS): Promise<number> {
  return context.db.transaction(async (sql) => {
    const rows = await sql.query<Held>(
      `SELECT ${HELD_COLUMNS} FROM erofsify.conversion
       WHERE worker IS NOT NULL AND status IN ('looking', 'running')
         AND heartbeat <= now() - $1::int * interval '1 second'
       FOR UPDATE SKIP LOCKED`,
      [leaseSeconds],
    );
    for (const row of rows) await settleFailure(context, sql, row, lostError(row));
    return rows.length;
  });
}

function lostError({ worker }: Held) {
  return { code: "ERR_WORKER_LOST", message: `the worker ${worker} ended or fell silent`, permanent: false };
}
