/**
 * The service's own table beside pg-boss's. pg-boss decides when a job runs and how often it is tried; a row here is what
 * people and clients see of it, and both change in one transaction.
 *
 *     looking ──► queued ──► running ──► done
 *        │           ▲          │
 *        │           └──retry───┤
 *        ├──► ignored           ├──► failed
 *        ├──► merged            └──► cancelled
 *        └──► failed, cancelled
 */
import type { Database } from "../database/index.ts";

/** Raise it with every change of the tables. */
const VERSION = 3;

const TABLES = `
  CREATE TABLE erofsify.conversion (
    id uuid PRIMARY KEY,
    -- pg-boss's job that works for this row now.
    job_id uuid NOT NULL,
    origin text NOT NULL,
    registry text NOT NULL,
    repository text NOT NULL,
    tag text,
    digest text,
    -- What was asked for; and, once it was looked up, what that is: one conversion at a time for each.
    request_key text NOT NULL,
    key text,
    -- How the converted image stands beside its source, and under which tag, if it has one.
    form text NOT NULL DEFAULT 'tag',
    target_tag text,
    verity boolean NOT NULL DEFAULT false,
    platforms text[] NOT NULL DEFAULT '{}',
    force boolean NOT NULL DEFAULT false,
    status text NOT NULL,
    reason text,
    error_code text,
    events integer NOT NULL DEFAULT 1,
    merged_into uuid,
    attempt integer NOT NULL DEFAULT 0,
    -- Who works on it, and when that one was last heard of.
    worker text,
    heartbeat timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    phase text,
    done_bytes bigint,
    total_bytes bigint,
    source_bytes bigint,
    target_bytes bigint,
    target_digest text,
    created timestamptz NOT NULL DEFAULT now(),
    started timestamptz,
    finished timestamptz,
    next_try timestamptz
  );
  CREATE UNIQUE INDEX conversion_asked ON erofsify.conversion (request_key) WHERE status = 'looking';
  CREATE UNIQUE INDEX conversion_active ON erofsify.conversion (key) WHERE status IN ('queued', 'running');
  CREATE INDEX conversion_key ON erofsify.conversion (key);
  CREATE INDEX conversion_job ON erofsify.conversion (job_id);
  CREATE INDEX conversion_listed ON erofsify.conversion (created DESC, id) WHERE status NOT IN ('merged', 'ignored');
  CREATE INDEX conversion_held ON erofsify.conversion (heartbeat) WHERE worker IS NOT NULL;`;

/** Makes the tables, once, whoever comes first. */
export async function createTables(db: Database): Promise<void> {
  await db.script(`
    BEGIN;
    SELECT pg_advisory_xact_lock(hashtext('erofsify.tables'));
    CREATE SCHEMA IF NOT EXISTS erofsify;
    CREATE TABLE IF NOT EXISTS erofsify.version (version integer PRIMARY KEY);
    DO $do$ BEGIN
      IF NOT EXISTS (SELECT FROM erofsify.version) THEN
        ${TABLES}
        INSERT INTO erofsify.version VALUES (${VERSION});
      END IF;
      IF (SELECT version FROM erofsify.version) = 1 THEN
        ALTER TABLE erofsify.conversion ADD COLUMN form text NOT NULL DEFAULT 'tag';
        UPDATE erofsify.version SET version = 2;
      END IF;
      IF (SELECT version FROM erofsify.version) = 2 THEN
        ALTER TABLE erofsify.conversion ADD COLUMN verity boolean NOT NULL DEFAULT false;
        UPDATE erofsify.version SET version = 3;
      END IF;
    END $do$;
    COMMIT;`);
  const [row] = await db.query<{ version: number }>("SELECT version FROM erofsify.version");
  if (row?.version !== VERSION)
    throw new Error(`the queue's tables are of version ${row?.version}, this program's are of version ${VERSION}`);
}
