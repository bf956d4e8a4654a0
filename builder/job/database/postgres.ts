/** PostgreSQL by URL: for several workers, and where the queue must outlive a power failure. */
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { type Database, DatabaseError, type Sql } from "./database.ts";

const INT8 = 20;
const MAX_CONNECTIONS = 8;
const CONNECT_TIMEOUT_MS = 10_000;
/** Between attempts to get a lost LISTEN connection back. */
const RECONNECT_MS = 2000;

const types: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    oid === INT8 && format !== "binary" ? Number : pg.types.getTypeParser(oid, format as "text"),
};

/** @throws DatabaseError when it does not answer */
export async function openPostgres(url: string, onWarning: (message: string) => void): Promise<Database> {
  const config: pg.ClientConfig = {
    connectionString: url,
    types,
    application_name: "erofsify",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  };
  const pool = new pg.Pool({ ...config, max: MAX_CONNECTIONS });
  // A server that restarts ends idle connections: the pool makes new ones when it needs them.
  pool.on("error", (error) => onWarning(`PostgreSQL: ${error.message}`));
  const { host, pathname } = new URL(url);
  try {
    await pool.query("SELECT 1");
  } catch (error) {
    await pool.end();
    throw new DatabaseError("ERR_DATABASE", `PostgreSQL at ${host}: ${(error as Error).message}`, { cause: error });
  }
  return new Served(pool, config, `postgresql ${host}${pathname}`, onWarning);
}

class Served implements Database {
  readonly description: string;
  readonly exclusive = false;
  readonly #pool: pg.Pool;
  readonly #config: pg.ClientConfig;
  readonly #onWarning: (message: string) => void;
  readonly #listeners = new Set<pg.Client>();
  readonly #onLost = (error: Error) => this.#onWarning(`PostgreSQL: ${error.message}`);
  #closed = false;

  constructor(pool: pg.Pool, config: pg.ClientConfig, description: string, onWarning: (message: string) => void) {
    this.#pool = pool;
    this.#config = config;
    this.description = description;
    this.#onWarning = onWarning;
  }

  query<T>(text: string, values: readonly unknown[] = []): Promise<T[]> {
    return queryOn<T>(this.#pool, text, values);
  }

  async transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    const client = await this.#checkOut();
    let broken = false;
    try {
      await client.query("BEGIN");
      const result = await work({ query: (text, values) => queryOn(client, text, values) });
      await client.query("COMMIT");
      return result;
    } catch (error) {
      await client.query("ROLLBACK").catch(() => {
        broken = true;
      });
      throw error;
    } finally {
      this.#giveBack(client, broken);
    }
  }

  async script(text: string): Promise<void> {
    const client = await this.#checkOut();
    let failed = false;
    try {
      await client.query(text);
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      // A script that failed in a transaction it began would leave the next user of the connection in it.
      this.#giveBack(client, failed);
    }
  }

  /**
   * A connection of the pool's. The pool hears the errors of idle ones only: one that the server ends between two
   * statements of ours says so in an event that would end the process if nobody listened; the next statement fails anyway.
   */
  async #checkOut(): Promise<pg.PoolClient> {
    const client = await this.#pool.connect();
    return client.on("error", this.#onLost);
  }

  #giveBack(client: pg.PoolClient, broken: boolean): void {
    client.off("error", this.#onLost).release(broken);
  }

  async listen(channel: string, onNotify: () => void): Promise<void> {
    const client = new pg.Client(this.#config);
    client.on("notification", onNotify);
    const lost = (error?: Error) => {
      if (!this.#listeners.delete(client) || this.#closed) return;
      this.#onWarning(`PostgreSQL: the connection that listens is lost${error ? `: ${error.message}` : ""}`);
      client.end().catch(() => {});
      void this.#listenAgain(channel, onNotify);
    };
    client.on("error", lost).on("end", () => lost());
    await client.connect();
    this.#listeners.add(client);
    await client.query(`LISTEN ${channel}`);
  }

  async #listenAgain(channel: string, onNotify: () => void): Promise<void> {
    while (!this.#closed) {
      await delay(RECONNECT_MS, undefined, { ref: false });
      try {
        await this.listen(channel, onNotify);
        onNotify(); // Something may have been said meanwhile.
        return;
      } catch (error) {
        this.#onWarning(`PostgreSQL: ${(error as Error).message}`);
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#listeners].map((client) => client.end()));
    await this.#pool.end();
  }
}

async function queryOn<T>(db: pg.Pool | pg.PoolClient, text: string, values: readonly unknown[] = []): Promise<T[]> {
  const { rows } = await db.query(text, [...values]);
  return rows as T[];
}
