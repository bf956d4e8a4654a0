import { formatReference, type Reference, SourceError } from "../../formats/oci/index.ts";
import { RegistryClient } from "./client.ts";
import type { Authorization, Endpoint } from "./endpoint.ts";
import { connectionOf, type RegistryOptions } from "./options.ts";
import { RepositoryReader } from "./repository-reader.ts";
import { endpointsOf, readSettings } from "./settings.ts";

/** How the repository of an image was reached. Plain data. */
export interface RepositoryAccess {
  readonly repository: string;
  /** The one that answered first, then the others. */
  readonly endpoints: readonly Endpoint[];
  /** The first one's authorization. */
  readonly authorization?: Authorization;
}

/**
 * Does `work` with the first of a registry's endpoints where it does not fail: the mirrors, then the registry itself.
 * @throws SourceError what the last one failed with; whatever else `work` throws, at once
 */
export async function firstEndpoint<T>(
  reference: Reference,
  plainHttp: boolean | undefined,
  options: RegistryOptions,
  work: (reader: RepositoryReader) => Promise<T>,
): Promise<{ readonly result: T; readonly access: RepositoryAccess }> {
  const { registry, repository } = reference;
  const endpoints = endpointsOf(registry, plainHttp, await readSettings(options.env));
  const name = formatReference(reference);
  let failure: unknown;
  for (const endpoint of endpoints) {
    const client = new RegistryClient(endpoint, repository, connectionOf(options));
    try {
      const result = await work(new RepositoryReader(client, name, options));
      const { authorization } = client;
      const access = {
        repository,
        endpoints: [endpoint, ...endpoints.filter((other) => other !== endpoint)],
        ...(authorization && { authorization }),
      };
      return { result, access };
    } catch (error) {
      // Whatever is wrong with a mirror, the registry itself may still be right.
      if (!(error instanceof SourceError)) throw error;
      failure = error;
    }
  }
  throw failure;
}
