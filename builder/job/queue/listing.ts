/** What the queue shows. */
import type { Database } from "../database/index.ts";
import { COLUMNS, type Conversion, type Status } from "./conversion.ts";

export const MAX_LISTED = 500;

export interface ListOptions {
  /** Without it all but those that were ignored or are answered by another. */
  readonly status?: Status | undefined;
  readonly limit: number;
  /** Only those created before this one: where the page before ended. */
  readonly after?: string | undefined;
}

/** Newest first. */
export function list(db: Database, { status, limit, after }: ListOptions): Promise<Conversion[]> {
  const which = status === undefined ? "status NOT IN ('merged', 'ignored')" : "status = $3";
  return db.query<Conversion>(
    `SELECT ${COLUMNS} FROM erofsify.conversion
     WHERE ${which} AND ($2::uuid IS NULL OR (created, id) < (SELECT created, id FROM erofsify.conversion WHERE id = $2::uuid))
     ORDER BY created DESC, id DESC LIMIT $1`,
    [Math.min(limit, MAX_LISTED), after ?? null, ...(status === undefined ? [] : [status])],
  );
}

export async function find(db: Database, id: string): Promise<Conversion | undefined> {
  const [row] = await db.query<Conversion>(`SELECT ${COLUMNS} FROM erofsify.conversion WHERE id = $1`, [id]);
  return row;
}

/** The conversion that answers a request: itself, or the one it was merged into. */
export async function follow(db: Database, id: string): Promise<Conversion | undefined> {
  const row = await find(db, id);
  return row?.mergedInto ? find(db, row.mergedInto) : row;
}

/** How many there are of each status. */
export async function countByStatus(db: Database): Promise<Map<Status, number>> {
  const rows = await db.query<{ status: Status; count: number }>(
    "SELECT status, count(*) AS count FROM erofsify.conversion GROUP BY status",
  );
  return new Map(rows.map(({ status, count }) => [status, count]));
}

/** Forgets what is over for long. @returns How many rows. */
export async function forget(db: Database, keepDays: number): Promise<number> {
  const rows = await db.query(
    `DELETE FROM erofsify.conversion
     WHERE (status IN ('done', 'failed', 'cancelled') AND finished < now() - $1::int * interval '1 day')
        OR (status IN ('merged', 'ignored') AND finished < now() - interval '1 day')
     RETURNING id`,
    [keepDays],
  );
  return rows.length;
}
