import type PgBoss from "pg-boss";
import type { Database, Sql } from "../database/index.ts";
import type { JobSettings } from "../settings/index.ts";
import { type CONVERSIONS, inside, LOOKUPS } from "./boss.ts";

/** What the queue's operations work on. */
export interface QueueContext {
  readonly db: Database;
  readonly boss: PgBoss;
  readonly settings: JobSettings;
}

/** Said with NOTIFY when there is something to take or to cancel. */
export const CHANNEL = "erofsify_job";

/** Lets go of what pg-boss itself would do when a worker forgets a job: our own limits come first. */
const EXPIRY_MARGIN_SECONDS = 300;
/** What a lookup may take, all attempts of its requests included. */
export const LOOKUP_TIMEOUT_SECONDS = 120;

/** Queues a row's job and wakes the workers. */
export async function send(
  { boss, settings }: QueueContext,
  sql: Sql,
  queue: typeof LOOKUPS | typeof CONVERSIONS,
  row: { readonly id: string; readonly jobId: string; readonly key: string },
): Promise<void> {
  const seconds = queue === LOOKUPS ? LOOKUP_TIMEOUT_SECONDS : settings.timeoutSeconds;
  await boss.send(
    queue,
    { id: row.id },
    {
      id: row.jobId,
      singletonKey: row.key,
      retryLimit: settings.retryLimit,
      retryDelay: settings.retryDelaySeconds,
      retryBackoff: true,
      expireInSeconds: seconds + EXPIRY_MARGIN_SECONDS,
      ...inside(sql),
    },
  );
  await wake(sql);
}

export async function wake(sql: Sql): Promise<void> {
  await sql.query("SELECT pg_notify($1, '')", [CHANNEL]);
}
