import {
  connectionOf,
  DEFAULT_RETRY,
  endpointsOf,
  RegistryClient,
  type RegistryOptions,
  RepositoryReader,
  RepositoryWriter,
  type RetryPolicy,
  readSettings,
} from "../../blobd/registry/index.ts";
import type { Reference } from "../../formats/oci/index.ts";

/** How the registry is reached. */
export interface TargetOptions {
  readonly plainHttp?: boolean;
  readonly retry?: Partial<RetryPolicy>;
  readonly env?: NodeJS.ProcessEnv;
}

/** A repository, and what is told of it. */
export interface PushTarget {
  readonly writer: RepositoryWriter;
  readonly reader: RepositoryReader;
  readonly registry: string;
  readonly repository: string;
  /** `host/name`: by it the store remembers what is there. */
  readonly name: string;
  readonly signal: AbortSignal;
}

/** Pushes go to the registry itself, never to a mirror; what they build on is read there too. @throws SourceError */
export async function openTarget(
  { registry, repository }: Reference,
  { plainHttp, retry, env = process.env }: TargetOptions,
  signal: AbortSignal,
): Promise<PushTarget> {
  const options: RegistryOptions = { env, retry: { ...DEFAULT_RETRY, ...retry }, signal };
  const endpoint = endpointsOf(registry, plainHttp, await readSettings(env)).at(-1)!;
  const client = new RegistryClient(endpoint, repository, connectionOf(options));
  const name = `${registry}/${repository}`;
  return {
    writer: new RepositoryWriter(client, options.retry, signal),
    reader: new RepositoryReader(client, name, options),
    registry,
    repository,
    name,
    signal,
  };
}
