import { chmodSync, readFileSync, renameSync, writeFileSync } from "node:fs";

/** Entries that are kept of what kubelet hands on: the last ones. */
const MAX_ENTRIES = 512;

/** Credentials as Docker's config.json has them. */
export interface AuthEntry {
  readonly auth?: string;
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
  readonly #pulls = new Map<string, AuthEntry>();
  #secrets: ReadonlyMap<string, AuthEntry> = new Map();

  /** Begins with what an earlier process was given: images that are served go on needing it. */
  constructor(path: string) {
    this.#path = path;
    for (const [key, entry] of Object.entries(readAuths(path))) this.#pulls.set(key, entry);
  }

  /** What an image is pulled with. */
  add(key: string, entry: AuthEntry): void {
    if (this.#pulls.size >= MAX_ENTRIES) this.#pulls.delete(this.#pulls.keys().next().value!);
    this.#pulls.delete(key);
    this.#pulls.set(key, entry);
    this.#write();
  }

  /** All that is in secrets now. */
  replaceSecrets(entries: ReadonlyMap<string, AuthEntry>): void {
    this.#secrets = entries;
    this.#write();
  }

  #write(): void {
    const pulls = Object.fromEntries(this.#pulls);
    const auths = { ...Object.fromEntries(this.#secrets), ...pulls };
    const next = `${this.#path}.next`;
    writeFileSync(next, JSON.stringify({ auths, pulls }), { mode: 0o600 });
    chmodSync(next, 0o600); // It may have been there, with another mode.
    renameSync(next, this.#path);
  }
}

function readAuths(path: string): Readonly<Record<string, AuthEntry>> {
  try {
    return JSON.parse(readFileSync(path, "utf8")).pulls ?? {};
  } catch {
    return {}; // None, or none of ours: it is written anew.
  }
}
