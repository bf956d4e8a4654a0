/**
 * Credentials as Docker and the containers tools keep them. The first of these files that knows the registry decides:
 * `$EROFSIFY_AUTH_FILE`, `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json` (default `~/.docker/config.json`),
 * `$XDG_RUNTIME_DIR/containers/auth.json` (default `/run/containers/UID/auth.json`), `~/.config/containers/auth.json`.
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { DocumentError, ioError, JsonObject, SourceError } from "../../formats/oci/index.ts";
import { askHelper } from "./credential-helper.ts";
import type { Environment } from "./settings.ts";

/** What is known to log in with, and where it comes from (for messages). */
export type Credentials = { readonly origin: string } & (
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  /** A refresh token, exchanged for access tokens at the token server. */
  | { readonly kind: "identity"; readonly token: string }
  /** A token for the registry itself. */
  | { readonly kind: "bearer"; readonly token: string }
);

/** One file's content. */
export interface AuthFile {
  readonly path: string;
  /** By normal key: host, or host and a part of the repository. */
  readonly auths: ReadonlyMap<string, Credentials>;
  readonly credHelpers: ReadonlyMap<string, string>;
  readonly credsStore: string | undefined;
}

/** Longest file that is read, in bytes. */
export const MAX_AUTH_FILE_BYTES = 4 << 20;
const MAX_HELPERS = 4096;
/** Docker Hub's key in Docker's file and for its helpers. */
const DOCKER_HUB_KEY = "https://index.docker.io/v1/";

/**
 * Credentials for a repository, or undefined when no file has any.
 * @param host The registry as references name it: `docker.io`, `host:5000`.
 * @throws SourceError ERR_CREDENTIALS for a broken file or a helper that fails
 */
export async function findCredentials(
  host: string,
  repository: string,
  env: Environment,
  signal?: AbortSignal,
): Promise<Credentials | undefined> {
  for (const path of authFilePaths(env)) {
    const file = await readAuthFile(path);
    const found = file && (await lookUp(file, host, repository, env, signal));
    if (found) return found;
  }
  return undefined;
}

/** The files that may hold credentials, in the order they are asked. */
export function authFilePaths(env: Environment): string[] {
  const home = env.HOME ?? homedir();
  const runtime = env.XDG_RUNTIME_DIR ?? `/run/containers/${process.getuid?.() ?? 0}`;
  return [
    ...(env.EROFSIFY_AUTH_FILE ? [env.EROFSIFY_AUTH_FILE] : []),
    ...(env.REGISTRY_AUTH_FILE ? [env.REGISTRY_AUTH_FILE] : []),
    join(env.DOCKER_CONFIG ?? join(home, ".docker"), "config.json"),
    env.XDG_RUNTIME_DIR ? join(runtime, "containers", "auth.json") : join(runtime, "auth.json"),
    join(env.XDG_CONFIG_HOME ?? join(home, ".config"), "containers", "auth.json"),
  ];
}

async function readAuthFile(path: string): Promise<AuthFile | undefined> {
  try {
    return parseAuthFile(path, await readFile(path));
  } catch (error) {
    // Another user's runtime folder is not ours to read, and no reason to fail.
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EACCES") return undefined;
    throw ioError(path, error);
  }
}

/**
 * Parses one file of either family.
 * @throws SourceError ERR_CREDENTIALS, never with a secret in its message
 */
export function parseAuthFile(path: string, bytes: Uint8Array): AuthFile {
  try {
    const json = JsonObject.parse(bytes, "credentials", MAX_AUTH_FILE_BYTES);
    const auths = json.optionalObject("auths");
    const entries = (auths?.keys() ?? []).map(
      (key) => [normalKey(key), credentialsOf(auths!.object(key), path)] as const,
    );
    const credsStore = json.optionalString("credsStore");
    return {
      path,
      auths: new Map(entries.filter((entry): entry is readonly [string, Credentials] => entry[1] !== undefined)),
      credHelpers: json.stringMap("credHelpers", MAX_HELPERS),
      credsStore: credsStore === "" ? undefined : credsStore,
    };
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    // The message may quote what it found, so only the place is passed on.
    throw new SourceError(
      "ERR_CREDENTIALS",
      `${path}: ${error.path} is not as expected; log in again to write it anew`,
    );
  }
}

/** `https://index.docker.io/v1/` and `docker.io` are one key; schemes and API versions do not count. */
function normalKey(key: string): string {
  const bare = key.replace(/^https?:\/\//, "").replace(/\/(?:v[12]\/?)?$/, "");
  return bare.replace(/^(?:index|registry-1)\.docker\.io(?=\/|$)/, "docker.io");
}

function credentialsOf(json: JsonObject, origin: string): Credentials | undefined {
  const identity = json.optionalString("identitytoken");
  if (identity) return { kind: "identity", token: identity, origin };
  const bearer = json.optionalString("registrytoken");
  if (bearer) return { kind: "bearer", token: bearer, origin };
  // Docker pads the password with NUL bytes at times, and so strips them.
  const pair = Buffer.from(json.optionalString("auth") ?? "", "base64")
    .toString("utf8")
    .replace(/\0+$/, "");
  const colon = pair.indexOf(":");
  const username = colon > 0 ? pair.slice(0, colon) : json.optionalString("username");
  const password = colon > 0 ? pair.slice(colon + 1) : json.optionalString("password");
  return username && password !== undefined ? { kind: "password", username, password, origin } : undefined;
}

/** A file's credentials for a repository: its helpers first, as in Docker, then the longest key that covers it. */
async function lookUp(
  file: AuthFile,
  host: string,
  repository: string,
  env: Environment,
  signal: AbortSignal | undefined,
): Promise<Credentials | undefined> {
  const helper = [...file.credHelpers].find(([key]) => normalKey(key) === host)?.[1] ?? file.credsStore;
  const fromHelper = helper && (await askHelper(helper, host === "docker.io" ? DOCKER_HUB_KEY : host, env, signal));
  return fromHelper || fromAuths(file, host, repository);
}

/** The entry with the longest key that is `host/repository` or a parent of it. */
export function fromAuths(file: AuthFile, host: string, repository: string): Credentials | undefined {
  for (let key = `${host}/${repository}`; ; key = key.slice(0, key.lastIndexOf("/"))) {
    const found = file.auths.get(key);
    if (found || key === host) return found;
  }
}
