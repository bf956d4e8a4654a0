import type { Connection } from "./login.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Environment } from "./settings.ts";

/** How registries are spoken with. */
export interface RegistryOptions {
  /** Where proxies, credential files and the settings file are looked up. */
  readonly env: Environment;
  readonly retry: RetryPolicy;
  readonly signal?: AbortSignal | undefined;
}

export function connectionOf({ env, retry, signal }: RegistryOptions): Connection {
  return { env, stallMs: retry.stallMs, signal };
}
