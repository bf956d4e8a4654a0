import { type Database, openDatabase } from "../database/index.ts";
import type { JobSettings } from "../settings/index.ts";
import { startBoss } from "./boss.ts";
import type { QueueContext } from "./context.ts";
import { createTables } from "./tables.ts";

export interface OpenedQueue extends QueueContext {
  close(): Promise<void>;
}

/**
 * Opens the queue in a database, made ready when it is new.
 * @throws DatabaseError
 */
export async function openQueue(
  where: string,
  settings: JobSettings,
  onWarning: (message: string) => void,
): Promise<OpenedQueue> {
  const db: Database = await openDatabase(where, onWarning);
  try {
    await createTables(db);
    const boss = await startBoss(db, (error) => onWarning(`the queue: ${error.message}`));
    const close = async () => {
      await boss.stop({ graceful: false });
      await db.close();
    };
    return { db, boss, settings, close };
  } catch (error) {
    await db.close();
    throw error;
  }
}
