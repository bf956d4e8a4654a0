/**
 * What the service is told to do. The settings file is JSON, every field optional but that one registry must be named:
 *
 *     {
 *       "registries": [{ "name": "harbor.lan", "aliases": ["harbor-core", "10.0.0.7:443"] }],
 *       "rules": [
 *         { "repository": "scratch/**", "convert": false },
 *         { "repository": "team/*", "tag": "v*", "platforms": ["linux/amd64"] }
 *       ],
 *       "form": "tag",
 *       "verity": false,
 *       "targetTag": "{tag}-erofs",
 *       "retries": { "limit": 4, "delaySeconds": 5 },
 *       "timeoutSeconds": 3600,
 *       "memoryMiB": 4096,
 *       "maxLayerMiB": 65536,
 *       "storeMaxSize": "100GB",
 *       "keepDays": 30
 *     }
 */
import { readFile } from "node:fs/promises";
import { DocumentError, JsonObject } from "../../../formats/oci/index.ts";
import type { PushForm } from "../../push/index.ts";
import { checkHost } from "../events/index.ts";
import { CONVERT_ALL, formOf, parseRule, type Rule } from "./rules.ts";

export interface JobSettings {
  readonly registries: readonly RegistryNames[];
  readonly rules: readonly Rule[];
  /** How converted images stand beside their sources. */
  readonly form: PushForm;
  /** Whether blobs and metadata get dm-verity hash trees. */
  readonly verity: boolean;
  /** Tag of the converted image: `{tag}` stands for the source's. Default: `{tag}-erofs`, and for an index the source's place. */
  readonly targetTag?: string;
  /** Attempts after the first. */
  readonly retryLimit: number;
  /** Before the second attempt, in seconds; it doubles from attempt to attempt. */
  readonly retryDelaySeconds: number;
  /** What one conversion may take. */
  readonly timeoutSeconds: number;
  /** JavaScript heap of one conversion. */
  readonly memoryMiB: number;
  /** What one layer may take on the disk; undefined: 16 TiB, what EROFS can address. */
  readonly maxLayerMiB?: number;
  /** The store is kept below this, as `erofsify prune --max-size` takes it. */
  readonly storeMaxSize?: string;
  /** Finished jobs are forgotten after this. */
  readonly keepDays: number;
}

/** A registry whose images are converted. */
export interface RegistryNames {
  /** As this service reaches it. */
  readonly name: string;
  /** What it calls itself in its notifications, where that differs. */
  readonly aliases: readonly string[];
}

/** A settings file that is wrong: the message says what and where. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
  readonly code = "ERR_USAGE";
}

const MAX_SETTINGS_BYTES = 1 << 20;
const MAX_REGISTRIES = 256;
const MAX_ALIASES = 64;
const MAX_RULES = 1024;
const MAX_SECONDS = 23 * 3600;
const TARGET_TAG = /^[A-Za-z0-9_.-]*\{tag\}[A-Za-z0-9_.-]*$/;

/**
 * Reads the settings file, if one is named, and adds registries named on the command line.
 * @throws SettingsError
 */
export async function readJobSettings(path: string | undefined, registries: readonly string[]): Promise<JobSettings> {
  let bytes: Uint8Array = Buffer.from("{}");
  try {
    if (path !== undefined) bytes = await readFile(path);
    const settings = parseJobSettings(bytes, registries);
    if (settings.registries.length === 0)
      throw new SettingsError("no registry is named: --registry HOST, or `registries` in the settings file");
    return settings;
  } catch (error) {
    if (error instanceof SettingsError) throw error;
    const reason = (error as Error).message;
    if (path === undefined) throw new SettingsError(reason);
    throw new SettingsError(
      `${path}: ${error instanceof DocumentError ? reason : (error as NodeJS.ErrnoException).code}`,
    );
  }
}

/** @throws DocumentError */
export function parseJobSettings(bytes: Uint8Array, registries: readonly string[] = []): JobSettings {
  const json = JsonObject.parse(bytes, "settings", MAX_SETTINGS_BYTES);
  const retries = json.optionalObject("retries");
  const rules = json.has("rules") ? json.objects("rules", MAX_RULES).map(parseRule) : [CONVERT_ALL];
  const storeMaxSize = json.optionalString("storeMaxSize");
  const form = formOf(json) ?? "tag";
  const tag = targetTag(json, form);
  return {
    registries: [...registries.map((name) => registryNames(name, [], "--registry")), ...registriesOf(json)],
    rules,
    form,
    verity: json.optionalBoolean("verity") ?? false,
    ...(tag !== undefined && { targetTag: tag }),
    retryLimit: integerOr(retries, "limit", 4, 100),
    retryDelaySeconds: integerOr(retries, "delaySeconds", 5, 3600),
    timeoutSeconds: Math.max(1, integerOr(json, "timeoutSeconds", 3600, MAX_SECONDS)),
    memoryMiB: Math.max(64, integerOr(json, "memoryMiB", 4096, 1 << 20)),
    keepDays: Math.max(1, integerOr(json, "keepDays", 30, 3650)),
    ...(json.has("maxLayerMiB") && { maxLayerMiB: json.integer("maxLayerMiB", 1 << 24) }),
    ...(storeMaxSize !== undefined && { storeMaxSize }),
  };
}

function registriesOf(json: JsonObject): RegistryNames[] {
  if (!json.has("registries")) return [];
  // Each is a name or an object: the reader takes arrays of one kind, so names are read first.
  try {
    return json.strings("registries", MAX_REGISTRIES).map((name) => registryNames(name, [], "settings.registries"));
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    return json
      .objects("registries", MAX_REGISTRIES)
      .map((one) => registryNames(one.string("name"), one.strings("aliases", MAX_ALIASES), one.path));
  }
}

function registryNames(name: string, aliases: readonly string[], path: string): RegistryNames {
  for (const host of [name, ...aliases]) checkHost(host, path);
  return { name, aliases };
}

function targetTag(json: JsonObject, form: PushForm): string | undefined {
  const text = json.optionalString("targetTag");
  if (text === undefined) return undefined;
  if (!TARGET_TAG.test(text) || (text === "{tag}" && form !== "index"))
    throw new DocumentError(
      "ERR_BAD_VALUE",
      "settings.targetTag",
      `found ${JSON.stringify(text.slice(0, 100))}, expected a tag with {tag} in it and something beside`,
    );
  return text;
}

function integerOr(json: JsonObject | undefined, key: string, otherwise: number, max: number): number {
  return json?.has(key) ? json.integer(key, max) : otherwise;
}
