import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { MAX_AUTH_FILE_BYTES } from "../../registry/index.ts";

/** Entries that are kept of what kubelet hands on: the last ones. */
const MAX_ENTRIES = 512;

/** Credentials as Docker's config.json has them. */
export interface AuthEntry {
  readonly auth?: string;
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
  readonly registrytoken?: string;
}

/**
 * The file by which snapshotter and `blobd serve` know credentials that were not configured for them (see
 * pullCredentials in blobd/registry). It is written anew at every change, so that whoever logs in again has the newest.
 */
export class CredentialFile {
  readonly #path: string;
  /** By registry and repository. The last used is last. */
  #pulls = new Map<string, AuthEntry>();
  #secrets: ReadonlyMap<string, AuthEntry> = new Map();
  /** What was written last. */
  #text = "";

  /** Begins with what an earlier process was given: images that are served go on needing it. */
  constructor(path: string) {
    this.#path = path;
    for (const [key, entry] of Object.entries(readAuths(path))) this.#pulls.set(key, entry);
  }

  /** What an image is pulled with. @throws as replaceSecrets */
  add(key: string, entry: AuthEntry): void {
    const pulls = new Map(this.#pulls);
    // Its own place is free before another's is taken.
    pulls.delete(key);
    if (pulls.size >= MAX_ENTRIES) pulls.delete(pulls.keys().next().value!);
    pulls.set(key, entry);
    const text = this.#textOf(this.#secrets, pulls);
    this.#pulls = pulls;
    this.#write(text);
  }

  /**
   * All that is in secrets now.
   * @throws Error when the file would be longer than who reads it accepts: all stays as it was; the system's errors
   */
  replaceSecrets(entries: ReadonlyMap<string, AuthEntry>): void {
    const text = this.#textOf(entries, this.#pulls);
    this.#secrets = entries;
    this.#write(text);
  }

  #textOf(secrets: ReadonlyMap<string, AuthEntry>, pulled: ReadonlyMap<string, AuthEntry>): string {
    const pulls = Object.fromEntries(pulled);
    const text = JSON.stringify({ auths: { ...Object.fromEntries(secrets), ...pulls }, pulls });
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_AUTH_FILE_BYTES)
      throw new Error(`${this.#path}: it would be ${bytes} bytes long, at most ${MAX_AUTH_FILE_BYTES} are accepted`);
    return text;
  }

  #write(text: string): void {
    // Secrets are read again every half minute, and are nearly always the same.
    if (text === this.#text && existsSync(this.#path)) return;
    const next = `${this.#path}.next`;
    writeFileSync(next, text, { mode: 0o600 });
    chmodSync(next, 0o600); // It may have been there, with another mode.
    renameSync(next, this.#path);
    this.#text = text;
  }
}

function readAuths(path: string): Readonly<Record<string, AuthEntry>> {
  try {
    return JSON.parse(readFileSync(path, "utf8")).pulls ?? {};
  } catch {
    return {}; // None, or none of ours: it is written anew.
  }
}
