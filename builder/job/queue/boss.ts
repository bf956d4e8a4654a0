/** pg-boss on the service's database: two queues and their dead letters. */
import PgBoss from "pg-boss";
import type { Database, Sql } from "../database/index.ts";

/** Rows of this queue are looked up: what is behind the name, is it to be converted? */
export const LOOKUPS = "erofsify-lookup";
export const CONVERSIONS = "erofsify-convert";
/** Jobs that were tried as often as they may be. */
export const DEAD_LETTERS = "erofsify-dead";

/** Beside others' pg-boss in the same database. */
const SCHEMA = "erofsify_boss";
const MAINTENANCE_SECONDS = 60;

export async function startBoss(db: Database, onError: (error: Error) => void): Promise<PgBoss> {
  const boss = new PgBoss({
    db: executor(db),
    schema: SCHEMA,
    schedule: false,
    maintenanceIntervalSeconds: MAINTENANCE_SECONDS,
  });
  boss.on("error", onError);
  await boss.start();
  await boss.createQueue(DEAD_LETTERS);
  await boss.createQueue(LOOKUPS, { name: LOOKUPS, deadLetter: DEAD_LETTERS });
  await boss.createQueue(CONVERSIONS, { name: CONVERSIONS, deadLetter: DEAD_LETTERS });
  return boss;
}

function executor(db: Database): PgBoss.Db {
  return {
    async executeSql(text: string, values?: unknown[]) {
      if (values === undefined && /^\s*BEGIN;/.test(text)) {
        await db.script(text);
        return { rows: [] };
      }
      return { rows: await db.query(text, values) };
    },
  } as PgBoss.Db;
}

/** Makes a call of pg-boss part of a transaction: `boss.send(name, data, { ...inside(sql) })`. */
export function inside(sql: Sql): { db: PgBoss.Db } {
  return {
    db: {
      async executeSql(text: string, values: unknown[]) {
        return { rows: await sql.query(text, values) };
      },
    } as PgBoss.Db,
  };
}

/** Leaves the job that is about to fail no further attempt, or one more than it had. pg-boss 10 has no call for it. */
export async function setAttemptsLeft(
  sql: Sql,
  queue: string,
  jobId: string,
  left: "none" | "one-more",
): Promise<void> {
  const limit = left === "none" ? "retry_count" : "GREATEST(retry_limit, retry_count) + 1";
  await sql.query(`UPDATE ${SCHEMA}.job SET retry_limit = ${limit} WHERE name = $1 AND id = $2`, [queue, jobId]);
}
