import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../../bin/erofsify.js", import.meta.url));
/** `erofsify prune` when somebody else uses the store: the next time will do. */
const EXIT_STORE = 5;

/**
 * Brings the store below a size, and removes what ended conversions left in it; in a process of its own, for it walks
 * through the whole store.
 * @returns What it did, or why it could not.
 */
export async function pruneStore(storeRoot: string, maxSize: string): Promise<string> {
  const child = spawn(process.execPath, [MAIN, "prune", "--max-size", maxSize, "--store", storeRoot], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise<number | null>((resolve) =>
    child.once("close", resolve).once("error", () => resolve(null)),
  );
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (status === EXIT_STORE) return "the store is in use";
  return (status === 0 ? stdout : stderr).trim().split("\n").at(-1) ?? "";
}
