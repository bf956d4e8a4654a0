/**
 * The settings file, for what no command line should have to repeat: `$EROFSIFY_CONFIG`, or `erofsify/config.json` in
 * `$XDG_CONFIG_HOME` or `~/.config`. All of it is optional:
 *
 *     {
 *       "registries": {
 *         "docker.io":    { "mirrors": ["https://mirror.example.com/hub"] },
 *         "registry.lan": { "plainHttp": true },
 *         "mirror.example.com": { "ca": "/etc/ssl/example-ca.pem" }
 *       }
 *     }
 *
 * Mirrors are asked in order, then the registry itself; a mirror's path is put before the repository
 * (`/v2/hub/library/alpine`), and credentials for it are looked up under its own host. `ca` is a PEM file of
 * certificate authorities to trust beside Node's own list (NODE_EXTRA_CA_CERTS does that for all registries at once).
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { DocumentError, ioError, JsonObject, SourceError } from "../../formats/oci/index.ts";
import type { Endpoint } from "./endpoint.ts";

/** Environment variables, as in process.env. */
export type Environment = Readonly<Record<string, string | undefined>>;

interface RegistrySettings {
  readonly mirrors: readonly string[];
  readonly plainHttp?: boolean;
  readonly ca?: string;
}
export type Settings = ReadonlyMap<string, RegistrySettings>;

const MAX_SETTINGS_BYTES = 1 << 20;
const MAX_MIRRORS = 16;
/** Docker Hub's name in references, and the host that answers for it. */
const DOCKER_HUB = "docker.io";
const DOCKER_HUB_HOST = "registry-1.docker.io";

/** @throws SourceError when the file is there but wrong, or was named by $EROFSIFY_CONFIG and is not there */
export async function readSettings(env: Environment): Promise<Settings> {
  const base = env.XDG_CONFIG_HOME ?? join(env.HOME ?? homedir(), ".config");
  const path = env.EROFSIFY_CONFIG ?? join(base, "erofsify", "config.json");
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" && env.EROFSIFY_CONFIG === undefined) return new Map();
    throw ioError(path, error);
  }
  return parseSettings(path, bytes);
}

/**
 * Parses a settings file; `path` is for errors.
 * @throws SourceError ERR_BAD_SOURCE
 */
export function parseSettings(path: string, bytes: Uint8Array): Settings {
  try {
    const registries = JsonObject.parse(bytes, "settings", MAX_SETTINGS_BYTES).optionalObject("registries");
    return new Map((registries?.keys() ?? []).map((host) => [host, registrySettings(registries!.object(host))]));
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new SourceError("ERR_BAD_SOURCE", `${path}: ${error.message}`, { cause: error });
  }
}

function registrySettings(json: JsonObject): RegistrySettings {
  const ca = json.optionalString("ca");
  const plainHttp = json.optionalBoolean("plainHttp");
  return {
    mirrors: json.strings("mirrors", MAX_MIRRORS),
    ...(plainHttp !== undefined && { plainHttp }),
    ...(ca !== undefined && { ca }),
  };
}

/** The servers to ask for a registry's repositories: its mirrors, then itself. */
export function endpointsOf(registry: string, plainHttp: boolean | undefined, settings: Settings): Endpoint[] {
  const mirrors = settings.get(registry)?.mirrors ?? [];
  return [...mirrors.map((url) => mirrorEndpoint(url, settings)), ownEndpoint(registry, plainHttp, settings)];
}

function ownEndpoint(registry: string, plainHttp: boolean | undefined, settings: Settings): Endpoint {
  const own = settings.get(registry);
  const http = plainHttp ?? own?.plainHttp ?? isLoopback(registry);
  const host = registry === DOCKER_HUB ? DOCKER_HUB_HOST : registry;
  return { origin: `${http ? "http" : "https"}://${host}`, host: registry, prefix: "", ...(own?.ca && { ca: own.ca }) };
}

function mirrorEndpoint(text: string, settings: Settings): Endpoint {
  let url: URL;
  try {
    url = new URL(text.includes("://") ? text : `https://${text}`);
  } catch {
    throw new SourceError("ERR_BAD_SOURCE", `mirror ${JSON.stringify(text)}: expected a URL like https://host/path`);
  }
  if (!/^https?:$/.test(url.protocol) || url.search || url.hash || url.username)
    throw new SourceError(
      "ERR_BAD_SOURCE",
      `mirror ${JSON.stringify(text)}: expected http or https, a host and a path`,
    );
  const path = url.pathname.replace(/^\/+|\/+$/g, "");
  const ca = settings.get(url.host)?.ca;
  return { origin: url.origin, host: url.host, prefix: path && `${path}/`, ...(ca && { ca }) };
}

/** Registries on the machine itself are spoken to without TLS, as Docker does. */
export function isLoopback(registry: string): boolean {
  const host = registry.replace(/:\d+$/, "").toLowerCase();
  return host === "localhost" || host === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(host);
}
