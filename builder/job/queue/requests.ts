/** What people and registries ask of the queue. */
import { randomUUID } from "node:crypto";
import type { Digest } from "../../../formats/oci/index.ts";
import { CONVERSIONS, inside, LOOKUPS } from "./boss.ts";
import { type QueueContext, send, wake } from "./context.ts";
import { COLUMNS, type Conversion, isFinal, type Origin, referenceText } from "./conversion.ts";

/** An image that may be to convert. At least one of tag and digest is set. */
export interface Ask {
  readonly origin: Origin;
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
  readonly platforms?: readonly string[];
  /** Convert again what is converted already. */
  readonly force?: boolean;
}

/**
 * Takes requests, all or none of them. One that waits to be looked up already counts once more.
 * @returns The conversions' ids, in order.
 */
export function ask(context: QueueContext, asks: readonly Ask[]): Promise<string[]> {
  return context.db.transaction(async (sql) => {
    const ids: string[] = [];
    for (const one of asks) {
      const { origin, registry, repository, tag = null, digest = null, platforms = [], force = false } = one;
      const key = [referenceText(one), ...[...platforms].sort(), ...(force ? ["force"] : [])].join(" ");
      const [id, jobId] = [randomUUID(), randomUUID()];
      const [row] = await sql.query<{ id: string }>(
        `INSERT INTO erofsify.conversion
           (id, job_id, origin, registry, repository, tag, digest, request_key, platforms, force, status)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'looking')
         ON CONFLICT (request_key) WHERE status = 'looking' DO UPDATE SET events = conversion.events + 1
         RETURNING id`,
        [id, jobId, origin, registry, repository, tag, digest, key, platforms, force],
      );
      ids.push(row!.id);
      if (row!.id === id) await send(context, sql, LOOKUPS, { id, jobId, key });
    }
    return ids;
  });
}

/** A row as it is locked for a change. */
interface Locked extends Conversion {
  readonly jobId: string;
  readonly requestKey: string;
}

const LOCKED = `SELECT ${COLUMNS}, job_id AS "jobId", request_key AS "requestKey" FROM erofsify.conversion WHERE id = $1 FOR UPDATE`;

/**
 * Looks a finished one up again and converts it anew.
 * @returns false when it is under way or answered by another; undefined when there is none of this id.
 */
export function retry(context: QueueContext, id: string): Promise<boolean | undefined> {
  return context.db.transaction(async (sql) => {
    const [row] = await sql.query<Locked>(LOCKED, [id]);
    if (row === undefined) return undefined;
    if (!isFinal(row.status) || row.status === "merged") return false;
    const [asked] = await sql.query("SELECT 1 FROM erofsify.conversion WHERE request_key = $1 AND status = 'looking'", [
      row.requestKey,
    ]);
    if (asked !== undefined) return false;
    const jobId = randomUUID();
    await sql.query(
      `UPDATE erofsify.conversion SET job_id = $2, status = 'looking', force = true, reason = NULL, error_code = NULL,
         attempt = 0, worker = NULL, cancel_requested = false, phase = NULL, done_bytes = NULL, total_bytes = NULL,
         started = NULL, finished = NULL, next_try = NULL
       WHERE id = $1`,
      [id, jobId],
    );
    await send(context, sql, LOOKUPS, { id, jobId, key: row.requestKey });
    return true;
  });
}

/**
 * Cancels one that waits; asks the worker of a running one to stop.
 * @returns false when it is over already; undefined when there is none of this id.
 */
export function cancel({ db, boss }: QueueContext, id: string): Promise<boolean | undefined> {
  return db.transaction(async (sql) => {
    const [row] = await sql.query<Locked>(LOCKED, [id]);
    if (row === undefined) return undefined;
    if (isFinal(row.status)) return false;
    if (row.worker !== null) {
      await sql.query("UPDATE erofsify.conversion SET cancel_requested = true WHERE id = $1", [id]);
      await wake(sql);
      return true;
    }
    await boss.cancel(row.status === "looking" ? LOOKUPS : CONVERSIONS, row.jobId, inside(sql));
    await sql.query(
      `UPDATE erofsify.conversion SET status = 'cancelled', finished = now(), next_try = NULL, reason = NULL
       WHERE id = $1`,
      [id],
    );
    return true;
  });
}
