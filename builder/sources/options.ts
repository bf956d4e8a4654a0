import { DEFAULT_RETRY, type Environment, type RegistryOptions, type RetryPolicy } from "../../blobd/registry/index.ts";

/** How sources are read. */
export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told with every chunk: bytes of the layer so far, as stored. */
  readonly onProgress?: ((receivedBytes: number) => void) | undefined;
  /** How patiently registries are asked again; what is left out is as in DEFAULT_RETRY. */
  readonly retry?: Partial<RetryPolicy> | undefined;
  /** Most bytes that a compressed image archive may unpack to; default 256 GiB. */
  readonly maxUnpackedBytes?: number | undefined;
  /** Where proxies, credential files and the settings file are looked up; default process.env. */
  readonly env?: Environment | undefined;
}

export function registryOptions({ signal, retry, env = process.env }: ReadOptions): RegistryOptions {
  return { env, retry: { ...DEFAULT_RETRY, ...retry }, signal };
}
