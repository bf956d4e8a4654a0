import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext } from "node:test";

/** A fresh directory that goes away after the test, or after all tests of the file when no test is given. */
export function tempDir(test?: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "erofsify-test-"));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  if (test === undefined) after(remove);
  else test.after(remove);
  return directory;
}
