/** How an attempt ends. */
import { randomUUID } from "node:crypto";
import type { Sql } from "../database/index.ts";
import { CONVERSIONS, inside, LOOKUPS, setAttemptsLeft } from "./boss.ts";
import { type QueueContext, send } from "./context.ts";
import { referenceText } from "./conversion.ts";
import { type Held, lockHeld } from "./holding.ts";

/** Why an attempt failed. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  /** Whether another attempt can only end the same way. */
  readonly permanent: boolean;
  /** Whether there is nothing left to convert: the tag means another image by now. No failure, then. */
  readonly outdated?: boolean;
  /** Whether the attempt should not count: the worker was told to stop. */
  readonly free?: boolean;
}

/** What a conversion made. Sizes in bytes. */
export interface Result {
  readonly sourceBytes: number;
  readonly targetBytes: number;
  readonly targetDigest: string | null;
}

const MAX_REASON_LENGTH = 2000;

/** The row of one attempt is over: true unless it was no longer this worker's. */
export function succeed({ db, boss }: QueueContext, held: Held, result: Result): Promise<boolean> {
  return db.transaction(async (sql) => {
    if ((await lockHeld(sql, held)) === undefined) return false;
    await boss.complete(CONVERSIONS, held.jobId, { ...result }, inside(sql));
    await sql.query(
      `UPDATE erofsify.conversion SET status = 'done', finished = now(), worker = NULL, reason = NULL, error_code = NULL,
         cancel_requested = false, phase = NULL, source_bytes = $2, target_bytes = $3, target_digest = $4 WHERE id = $1`,
      [held.id, result.sourceBytes, result.targetBytes, result.targetDigest],
    );
    return true;
  });
}

/** Another attempt later, or no more. */
export function fail(context: QueueContext, held: Held, failure: Failure): Promise<boolean> {
  return context.db.transaction(async (sql) => {
    const row = await lockHeld(sql, held);
    if (row !== undefined) await settleFailure(context, sql, row, failure);
    return row !== undefined;
  });
}

/** Ends a locked row's attempt: pg-boss decides whether there is another; one that was to be cancelled has none. */
export async function settleFailure(context: QueueContext, sql: Sql, row: Held, failure: Failure): Promise<void> {
  const queue = row.status === "looking" ? LOOKUPS : CONVERSIONS;
  const { boss } = context;
  if (row.cancelRequested) {
    await boss.cancel(queue, row.jobId, inside(sql));
    await close(sql, row.id, "cancelled", null, null);
    return;
  }
  const reason = failure.message.slice(0, MAX_REASON_LENGTH);
  if (failure.outdated) {
    await boss.complete(queue, row.jobId, { outdated: reason }, inside(sql));
    await close(sql, row.id, "ignored", reason, failure.code);
    return;
  }
  if (failure.permanent) await setAttemptsLeft(sql, queue, row.jobId, "none");
  else if (failure.free) await setAttemptsLeft(sql, queue, row.jobId, "one-more");
  await boss.fail(queue, row.jobId, { code: failure.code, message: reason }, inside(sql));
  const job = await boss.getJobById(queue, row.jobId, { includeArchive: true, ...inside(sql) });
  if (job?.state === "failed" || failure.permanent) return close(sql, row.id, "failed", reason, failure.code);
  const status = row.status === "looking" ? "looking" : "queued";
  // pg-boss may have let go of the job in another way (its own expiry, then a worker that found it outdated).
  const jobId = job?.state === "retry" || job?.state === "created" ? row.jobId : randomUUID();
  if (jobId !== row.jobId) await send(context, sql, queue, { id: row.id, jobId, key: referenceText(row) });
  await sql.query(
    `UPDATE erofsify.conversion SET status = $2, job_id = $3, worker = NULL, phase = NULL, reason = $4, error_code = $5,
       next_try = $6 WHERE id = $1`,
    [row.id, status, jobId, reason, failure.code, jobId === row.jobId ? job?.startAfter : null],
  );
}

/** A row that nothing more happens to. */
export async function close(
  sql: Sql,
  id: string,
  status: "failed" | "cancelled" | "ignored",
  reason: string | null,
  code: string | null,
): Promise<void> {
  await sql.query(
    `UPDATE erofsify.conversion SET status = $2, finished = now(), worker = NULL, cancel_requested = false, phase = NULL,
       next_try = NULL, reason = $3, error_code = $4 WHERE id = $1`,
    [id, status, reason, code],
  );
}
