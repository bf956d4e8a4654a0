/** What the service needs of PostgreSQL, embedded or served. */

/** Runs SQL. Parameters are `$1`, `$2`, …; `bigint` columns come as numbers. */
export interface Sql {
  query<T = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<T[]>;
}

export interface Database extends Sql {
  /** `postgresql` with its host and database, or the folder of an embedded one: for people. */
  readonly description: string;
  /** Whether this process is the only user: then nobody else can hold a job. */
  readonly exclusive: boolean;
  /** Runs `work` in a transaction: committed when it returns, rolled back when it throws. */
  transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Several statements at once, without parameters. */
  script(text: string): Promise<void>;
  /** Calls `onNotify` when somebody says `NOTIFY channel`; connections lost are made anew. */
  listen(channel: string, onNotify: () => void): Promise<void>;
  close(): Promise<void>;
}

/** A database that cannot be opened or reached. */
export class DatabaseError extends Error {
  override readonly name = "DatabaseError";
  readonly code: "ERR_DATABASE" | "ERR_DATABASE_BUSY";

  constructor(code: "ERR_DATABASE" | "ERR_DATABASE_BUSY", message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
