import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type ErofsMount, mountErofs, unmount } from "../../blobd/sys/index.ts";

/**
 * Mounts an EROFS image for the time of a test, by the kernel. Needs root.
 * @returns the directory it is mounted on.
 */
export function mountImage(test: TestContext, image: Omit<ErofsMount, "target">): string {
  const target = mkdtempSync(join(tmpdir(), "erofsify-mount-"));
  try {
    mountErofs({ ...image, target });
  } catch (error) {
    rmdirSync(target);
    throw error;
  }
  test.after(() => {
    unmount(target, { lazy: true });
    rmdirSync(target);
  });
  return target;
}
