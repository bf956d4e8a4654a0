/**
 * PostgreSQL in this process: PGlite, whose data is a folder. It does not lock the folder itself, and two processes would
 * ruin it, so a lock stands beside it. PGlite runs without fsync: a killed process loses nothing, a power failure may lose
 * the last seconds or make the folder unreadable; then it is set aside and the queue begins anew.
 */
import { closeSync, existsSync, openSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { PGlite, Results, Transaction } from "@electric-sql/pglite";
import { makeFolders, tryFlock } from "../../../blobd/sys/index.ts";
import { type Database, DatabaseError, type Sql } from "./database.ts";

/** PostgreSQL's OID of bigint. */
const INT8 = 20;

/**
 * Opens the database in `folder`, made when absent.
 * @throws DatabaseError ERR_DATABASE_BUSY when another process has it open
 */
export async function openPglite(folder: string, onWarning: (message: string) => void): Promise<Database> {
  makeFolders(folder, 0o700);
  const lock = lockFolder(folder);
  try {
    const { PGlite } = await import("@electric-sql/pglite");
    const data = join(folder, "data");
    const create = () => PGlite.create(data, { parsers: { [INT8]: Number } });
    const db = await create().catch((error: unknown) => {
      if (!existsSync(data)) throw error;
      const aside = join(folder, `broken-${Date.now()}`);
      renameSync(data, aside);
      onWarning(`the queue in ${data} cannot be read (${String(error)}): it is kept as ${aside}, an empty one begins`);
      return create();
    });
    return new Embedded(db, folder, lock);
  } catch (error) {
    closeSync(lock);
    throw new DatabaseError("ERR_DATABASE", `${folder}: ${(error as Error).message}`, { cause: error });
  }
}

function lockFolder(folder: string): number {
  const path = join(folder, "lock");
  const fd = openSync(path, "a", 0o600);
  if (tryFlock(fd, "exclusive")) return fd;
  closeSync(fd);
  throw new DatabaseError(
    "ERR_DATABASE_BUSY",
    `${folder}: another process has this queue open; several workers need PostgreSQL (--database postgres://…)`,
  );
}

class Embedded implements Database {
  readonly description: string;
  readonly exclusive = true;
  readonly #db: PGlite;
  readonly #lock: number;

  constructor(db: PGlite, folder: string, lock: number) {
    this.#db = db;
    this.description = folder;
    this.#lock = lock;
  }

  query<T>(text: string, values: readonly unknown[] = []): Promise<T[]> {
    return queryOn<T>(this.#db, text, values);
  }

  transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#db.transaction((tx) => work({ query: (text, values) => queryOn(tx, text, values) })) as Promise<T>;
  }

  async script(text: string): Promise<void> {
    try {
      await this.#db.exec(text);
    } catch (error) {
      // A script that began a transaction and failed in it leaves the only session there is in it.
      await this.#db.exec("ROLLBACK").catch(() => {});
      throw error;
    }
  }

  async listen(channel: string, onNotify: () => void): Promise<void> {
    await this.#db.listen(channel, () => onNotify());
  }

  async close(): Promise<void> {
    await this.#db.close();
    closeSync(this.#lock);
  }
}

async function queryOn<T>(db: PGlite | Transaction, text: string, values: readonly unknown[] = []): Promise<T[]> {
  const { rows }: Results<T> = await db.query<T>(text, [...values]);
  return rows;
}
