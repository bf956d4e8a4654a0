/**
 * Who works on what. A worker takes a job and its row in one transaction and says every few seconds that it is alive; a row
 * whose worker has been silent for LEASE_SECONDS, by the database's clock, is given to the next. Whatever a worker says
 * of a row counts only while it holds that attempt, so that one that was thought dead changes nothing any more.
 */
import type { Sql } from "../database/index.ts";
import { type CONVERSIONS, inside, type LOOKUPS } from "./boss.ts";
import type { QueueContext } from "./context.ts";
import { COLUMNS, type Conversion, type Phase } from "./conversion.ts";

export const LEASE_SECONDS = 20;

/** A row that this worker holds. */
export interface Held extends Conversion {
  readonly jobId: string;
  readonly worker: string;
  readonly force: boolean;
}

export const HELD_COLUMNS = `${COLUMNS}, job_id AS "jobId", force`;

/** Takes the next job of a queue; undefined when there is none to take now. */
export async function take(
  { db, boss }: QueueContext,
  queue: typeof LOOKUPS | typeof CONVERSIONS,
  worker: string,
): Promise<Held | undefined> {
  for (;;) {
    const taken = await db.transaction(async (sql) => {
      const [job] = await boss.fetch(queue, { includeMetadata: true, ...inside(sql) });
      if (job === undefined) return undefined;
      const [row] = await sql.query<Held>(
        `UPDATE erofsify.conversion SET status = CASE status WHEN 'queued' THEN 'running' ELSE status END, worker = $2,
           heartbeat = now(), started = now(), attempt = $3, next_try = NULL, phase = NULL, done_bytes = NULL,
           total_bytes = NULL
         WHERE job_id = $1 AND status IN ('looking', 'queued') RETURNING ${HELD_COLUMNS}`,
        [job.id, worker, job.retryCount + 1],
      );
      // A job whose row has gone another way in the meantime has no more to do.
      if (row === undefined) await boss.complete(queue, job.id, { outdated: true }, inside(sql));
      return row ?? "outdated";
    });
    if (taken !== "outdated") return taken;
  }
}

/** How far a held row is. */
export interface Beat {
  readonly id: string;
  readonly attempt: number;
  readonly phase?: Phase | undefined;
  readonly doneBytes?: number | undefined;
  readonly totalBytes?: number | undefined;
}

/**
 * Says that a worker is alive, and how far it is.
 * @returns Of each row that it still holds, whether it is to be cancelled.
 */
export async function beat(
  { db }: QueueContext,
  worker: string,
  beats: readonly Beat[],
): Promise<Map<string, boolean>> {
  const rows = await db.query<{ id: string; cancel: boolean }>(
    `UPDATE erofsify.conversion c SET heartbeat = now(), phase = COALESCE(b.phase, c.phase),
       done_bytes = COALESCE(b."doneBytes", c.done_bytes), total_bytes = COALESCE(b."totalBytes", c.total_bytes)
     FROM json_to_recordset($2::text::json)
       AS b(id uuid, attempt int, phase text, "doneBytes" bigint, "totalBytes" bigint)
     WHERE c.id = b.id AND c.attempt = b.attempt AND c.worker = $1 AND c.status IN ('looking', 'running')
     RETURNING c.id, c.cancel_requested AS cancel`,
    [worker, JSON.stringify(beats)],
  );
  return new Map(rows.map(({ id, cancel }) => [id, cancel]));
}

/** Locks a row if this worker still holds it. */
export async function lockHeld(sql: Sql, held: Held): Promise<Held | undefined> {
  const [row] = await sql.query<Held>(
    `SELECT ${HELD_COLUMNS} FROM erofsify.conversion
     WHERE id = $1 AND worker = $2 AND attempt = $3 AND status IN ('looking', 'running') FOR UPDATE`,
    [held.id, held.worker, held.attempt],
  );
  return row;
}
