/** Where files for guests are kept: initramfs by content, and a folder for each guest while it starts. */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/**
 * `vm` in `$EROFSIFY_CACHE`, else in `/var/cache/erofsify` for root, else in `$XDG_CACHE_HOME/erofsify` or
 * `~/.cache/erofsify`.
 */
export function defaultCacheDir(env: NodeJS.ProcessEnv = process.env, uid = process.getuid?.() ?? 0): string {
  if (env.EROFSIFY_CACHE) return join(env.EROFSIFY_CACHE, "vm");
  if (uid === 0) return "/var/cache/erofsify/vm";
  // The XDG base directory specification says to ignore a relative path.
  const cache = env.XDG_CACHE_HOME;
  return join(cache?.startsWith("/") ? cache : join(homedir(), ".cache"), "erofsify", "vm");
}

/** A fresh folder for one guest. Folders that killed processes left behind are removed on the way. */
export function makeGuestFolder(cacheDir: string): string {
  mkdirSync(cacheDir, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(cacheDir)) {
    const pid = /^guest-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(cacheDir, name), { recursive: true, force: true });
  }
  return mkdtempSync(join(cacheDir, `guest-${process.pid}-`));
}

/** The folder for a guest whose command is printed: it stays, and the next command printed for the image takes it over. */
export function printedGuestFolder(cacheDir: string, metaPath: string): string {
  const folder = printedGuestPath(cacheDir, metaPath);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

/** The path of that folder. */
export function printedGuestPath(cacheDir: string, metaPath: string): string {
  const name = createHash("sha256").update(metaPath).digest("hex").slice(0, 16);
  return join(cacheDir, "printed", name);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
