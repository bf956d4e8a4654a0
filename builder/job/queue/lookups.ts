/** What a look at an image decides. */

import { randomUUID } from "node:crypto";
import type { PushForm } from "../../push/index.ts";
import { CONVERSIONS, inside, LOOKUPS } from "./boss.ts";
import { type QueueContext, send } from "./context.ts";
import { COLUMNS, type Conversion } from "./conversion.ts";
import { type Held, lockHeld } from "./holding.ts";
import { close } from "./outcomes.ts";

/** Leaves an image alone, and says why. A person who asked for it is told that it failed. */
export function ignore({ db, boss }: QueueContext, held: Held, reason: string, code: string): Promise<boolean> {
  return db.transaction(async (sql) => {
    if ((await lockHeld(sql, held)) === undefined) return false;
    await boss.complete(LOOKUPS, held.jobId, { ignored: reason }, inside(sql));
    const asked = held.origin === "api" || held.origin === "page";
    await close(sql, held.id, asked ? "failed" : "ignored", reason, code);
    return true;
  });
}

/** What is to be converted. */
export interface Target {
  readonly digest: string;
  readonly form: PushForm;
  /** null for one that is attached. */
  readonly targetTag: string | null;
  /** With hash trees. */
  readonly verity: boolean;
  readonly platforms: readonly string[];
  /** Of the layers, where the manifest tells. */
  readonly sourceBytes: number | null;
}

export function keyOf(held: Held, target: Target): string {
  const { registry, repository } = held;
  const where = target.form === "tag" ? target.targetTag : `${target.form} ${target.targetTag ?? ""}`;
  const what = target.verity ? ["verity"] : [];
  return [`${registry}/${repository}@${target.digest}`, where, ...what, ...[...target.platforms].sort()].join(" ");
}

/** The last conversion of the same image into the same target that succeeded. */
export async function findDone({ db }: QueueContext, held: Held, target: Target): Promise<Conversion | undefined> {
  const [row] = await db.query<Conversion>(
    `SELECT ${COLUMNS} FROM erofsify.conversion WHERE key = $1 AND status = 'done' AND id <> $2
     ORDER BY finished DESC LIMIT 1`,
    [keyOf(held, target), held.id],
  );
  return row;
}

/**
 * Queues the conversion, unless the same one is under way: then that answers this request too.
 * @param done What `findDone` gave, when its result is still there: it answers the request.
 */
export function enqueue(
  context: QueueContext,
  held: Held,
  target: Target,
  done: Conversion | undefined,
): Promise<"queued" | "merged" | "cancelled" | "lost"> {
  const { db, boss } = context;
  const key = keyOf(held, target);
  return db.transaction(async (sql) => {
    // Two lookups of the same image, in two workers, one after the other.
    await sql.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [key]);
    const row = await lockHeld(sql, held);
    if (row === undefined) return "lost";
    await boss.complete(LOOKUPS, held.jobId, { digest: target.digest }, inside(sql));
    if (row.cancelRequested) {
      await close(sql, held.id, "cancelled", null, null);
      return "cancelled";
    }
    const [active] = await sql.query<{ id: string }>(
      "SELECT id FROM erofsify.conversion WHERE key = $1 AND status IN ('queued', 'running')",
      [key],
    );
    const answeredBy = active?.id ?? done?.id;
    if (answeredBy !== undefined) {
      await sql.query("UPDATE erofsify.conversion SET events = events + $2 WHERE id = $1", [answeredBy, row.events]);
      await sql.query(
        `UPDATE erofsify.conversion SET status = 'merged', merged_into = $2, digest = $3, finished = now(), worker = NULL
         WHERE id = $1`,
        [held.id, answeredBy, target.digest],
      );
      return "merged";
    }
    const jobId = randomUUID();
    const { digest, targetTag, platforms, sourceBytes, form, verity } = target;
    await sql.query(
      `UPDATE erofsify.conversion SET status = 'queued', job_id = $2, key = $3, digest = $4, target_tag = $5,
         platforms = $6, source_bytes = $7, form = $8, verity = $9, worker = NULL, attempt = 0, reason = NULL, error_code = NULL WHERE id = $1`,
      [held.id, jobId, key, digest, targetTag, platforms, sourceBytes, form, verity],
    );
    await send(context, sql, CONVERSIONS, { id: held.id, jobId, key });
    return "queued";
  });
}
