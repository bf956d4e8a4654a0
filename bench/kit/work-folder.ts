import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";

/**
 * Gives `work` a new folder in `parent`, which is made when it is absent. The folder goes when the work ends, and when the
 * process is interrupted, which ends it.
 */
export async function withWorkFolder(
  parent: string,
  name: string,
  work: (folder: string) => Promise<void>,
): Promise<void> {
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, `erofsify-${name}-`));
  const leave = () => rmSync(folder, { recursive: true, force: true });
  const leaveAndEnd = () => {
    leave();
    process.exit(130);
  };
  process.once("SIGINT", leaveAndEnd).once("SIGTERM", leaveAndEnd);
  try {
    await work(folder);
  } finally {
    leave();
  }
}
