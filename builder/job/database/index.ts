/** The queue's database: PGlite in a folder, or PostgreSQL by URL. */
import type { Database } from "./database.ts";
import { openPglite } from "./pglite.ts";

export { type Database, DatabaseError, type Sql } from "./database.ts";

/**
 * Opens the database that `where` names: `postgres://…` or a folder.
 * @throws DatabaseError
 */
export async function openDatabase(where: string, onWarning: (message: string) => void): Promise<Database> {
  if (!/^postgres(?:ql)?:\/\//.test(where)) return openPglite(where, onWarning);
  const { openPostgres } = await import("./postgres.ts");
  return openPostgres(where, onWarning);
}
