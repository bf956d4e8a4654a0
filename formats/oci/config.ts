/** Image configs: what runs in the image, and the digests of its layers. OCI image spec, config.md. */
import { type Digest, isDigest } from "./digest.ts";
import { DocumentError, JsonObject } from "./document.ts";
import { MAX_LAYERS } from "./manifest.ts";
import type { Platform } from "./platform.ts";

/** An image config, in bytes. */
export const MAX_CONFIG_BYTES = 8 << 20;
/** Arguments, environment variables, labels: far above what a kernel takes at exec. */
const MAX_STRINGS = 65_536;

/** The `config` part: how a container of the image is started. */
export interface ExecutionConfig {
  readonly user: string;
  readonly workingDir: string;
  readonly env: readonly string[];
  /** null when the image has none (an empty list would mean the same to a runtime, but not to a builder). */
  readonly entrypoint: readonly string[] | null;
  readonly cmd: readonly string[] | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly exposedPorts: readonly string[];
  readonly volumes: readonly string[];
  readonly stopSignal?: string;
}

export interface ImageConfig {
  /** Empty strings where the config says nothing. */
  readonly platform: Platform;
  readonly created?: string;
  readonly config: ExecutionConfig;
  /** `rootfs.diff_ids`: the digests of the layers' tars, unpacked, bottom first. */
  readonly diffIds: readonly Digest[];
  /** The document itself. */
  readonly raw: Uint8Array;
}

/**
 * Parses an image config.
 * @throws DocumentError
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const json = JsonObject.parse(bytes, "config", MAX_CONFIG_BYTES);
  const variant = json.optionalString("variant");
  const osVersion = json.optionalString("os.version");
  const created = json.optionalString("created");
  return {
    platform: {
      os: json.optionalString("os") ?? "",
      architecture: json.optionalString("architecture") ?? "",
      ...(variant && { variant }),
      ...(osVersion && { osVersion }),
      osFeatures: json.strings("os.features", MAX_STRINGS),
    },
    ...(created !== undefined && { created }),
    config: executionConfig(json.optionalObject("config")),
    diffIds: diffIds(json.optionalObject("rootfs")),
    raw: bytes,
  };
}

function executionConfig(json: JsonObject | undefined): ExecutionConfig {
  const stopSignal = json?.optionalString("StopSignal");
  const list = (key: string) => (json?.has(key) ? json.strings(key, MAX_STRINGS) : null);
  return {
    user: json?.optionalString("User") ?? "",
    workingDir: json?.optionalString("WorkingDir") ?? "",
    env: list("Env") ?? [],
    entrypoint: list("Entrypoint"),
    cmd: list("Cmd"),
    labels: Object.fromEntries(json?.stringMap("Labels", MAX_STRINGS) ?? []),
    exposedPorts: json?.optionalObject("ExposedPorts")?.keys() ?? [],
    volumes: json?.optionalObject("Volumes")?.keys() ?? [],
    ...(stopSignal && { stopSignal }),
  };
}

function diffIds(rootfs: JsonObject | undefined): Digest[] {
  const texts = rootfs?.strings("diff_ids", MAX_LAYERS) ?? [];
  return texts.map((text, i) => {
    if (isDigest(text)) return text;
    const found = JSON.stringify(text.slice(0, 100));
    throw new DocumentError(
      "ERR_BAD_VALUE",
      `config.rootfs.diff_ids[${i}]`,
      `found ${found}, expected a sha256 digest`,
    );
  });
}
