import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MAX_AUTH_FILE_BYTES } from "../../registry/index.ts";
import { CredentialFile } from "./index.ts";

const entry = (password: string) => ({ auth: Buffer.from(`user:${password}`).toString("base64") });

function newFile(t: { after(work: () => void): void }) {
  const folder = mkdtempSync(join(tmpdir(), "credential-file-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "credentials.json");
  const auths = (): Record<string, object> => JSON.parse(readFileSync(path, "utf8")).auths;
  return { file: new CredentialFile(path), path, auths };
}

test("what would make the file longer than it may be is refused, and what was known stays", (t) => {
  const { file, path, auths } = newFile(t);
  file.replaceSecrets(new Map([["registry.lan", entry("known")]]));
  const long = { auth: "x".repeat(MAX_AUTH_FILE_BYTES) };
  assert.throws(() => file.replaceSecrets(new Map([["long.lan", long]])), /at most 4194304 are accepted/);
  assert.throws(() => file.add("long.lan/app", long), /at most 4194304 are accepted/);
  assert.ok(statSync(path).size < 1000);
  file.add("pulled.lan/app", entry("pulled"));
  assert.deepEqual(auths(), { "registry.lan": entry("known"), "pulled.lan/app": entry("pulled") });
  // The longest one that is accepted.
  const spare = MAX_AUTH_FILE_BYTES - statSync(path).size - '"long.lan":{"auth":""},'.length;
  const longest = new Map([
    ["registry.lan", entry("known")],
    ["long.lan", { auth: "x".repeat(spare) }],
  ]);
  file.replaceSecrets(longest);
  assert.equal(statSync(path).size, MAX_AUTH_FILE_BYTES);
});

test("the last 512 pulls are kept; one that comes again takes nobody's place", (t) => {
  const { file, auths } = newFile(t);
  for (let i = 0; i < 512; i++) file.add(`lan/${i}`, entry("first"));
  file.add("lan/100", entry("again"));
  assert.equal(Object.keys(auths()).length, 512);
  assert.deepEqual(auths()["lan/0"], entry("first"));
  assert.deepEqual(auths()["lan/100"], entry("again"));
  file.add("lan/512", entry("first"));
  assert.deepEqual([auths()["lan/0"], Object.keys(auths()).length], [undefined, 512]);
});

test("the file is written when something has changed, or somebody has removed it", (t) => {
  const { file, path } = newFile(t);
  const secrets = () => new Map([["registry.lan", entry("known")]]);
  file.replaceSecrets(secrets());
  const { ino, mtimeNs } = statSync(path, { bigint: true });
  file.replaceSecrets(secrets());
  const again = statSync(path, { bigint: true });
  assert.deepEqual([again.ino, again.mtimeNs], [ino, mtimeNs]);
  rmSync(path);
  file.replaceSecrets(secrets());
  assert.ok(statSync(path).size > 0);
});
