/** Images in a registry: their documents, and their layers. */
import {
  type BlobRequest,
  connectionOf,
  downloadBlob,
  endpointsOf,
  RegistryClient,
  type RegistryOptions,
  RepositoryReader,
  readSettings,
  registryOpener,
  SourceError,
  urlOpener,
} from "../../blobd/registry/index.ts";
import { formatReference } from "../../formats/oci/index.ts";
import type { RegistrySpec } from "../names/index.ts";
import { type DocumentStore, type ImageDocuments, readDocuments } from "./documents.ts";
import type { RegistryAccess } from "./image.ts";

/** An image as its documents have it, and how its layers are reached. */
export interface PushedImage {
  readonly documents: ImageDocuments;
  readonly access: RegistryAccess;
}

/** @throws SourceError when none of the registry's endpoints has the image: the error of the registry itself */
export async function resolveRegistry(spec: RegistrySpec, options: RegistryOptions): Promise<PushedImage> {
  const { registry, repository } = spec.reference;
  const endpoints = endpointsOf(registry, spec.plainHttp, await readSettings(options.env));
  for (const endpoint of endpoints) {
    const client = new RegistryClient(endpoint, repository, connectionOf(options));
    try {
      const documents = await readDocuments(documentStore(client, spec, options), spec.platform);
      const { authorization } = client;
      const access: RegistryAccess = {
        kind: "registry",
        repository,
        endpoints: [endpoint, ...endpoints.filter((e) => e !== endpoint)],
        ...(authorization && { authorization }),
      };
      return { documents, access };
    } catch (error) {
      // Whatever is wrong with a mirror, the registry itself may still be right.
      if (!(error instanceof SourceError) || endpoint === endpoints.at(-1)) throw error;
    }
  }
  throw new Error("a registry has at least one endpoint");
}

function documentStore(client: RegistryClient, spec: RegistrySpec, options: RegistryOptions): DocumentStore {
  const reader = new RepositoryReader(client, formatReference(spec.reference), options);
  return {
    name: reader.name,
    root: () => reader.manifest(spec.reference),
    manifest: (descriptor) => reader.listedBytes(descriptor),
    blob: (descriptor) => reader.config(descriptor),
  };
}

/** The bytes of a layer. Endpoints are tried in turn, and after them a foreign layer's own URLs. */
export function openRegistryLayer(
  access: RegistryAccess,
  request: BlobRequest,
  urls: readonly string[],
  options: RegistryOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const atRegistry = access.endpoints.map((endpoint, i) => {
    const known = i === 0 ? access.authorization : undefined;
    return registryOpener(new RegistryClient(endpoint, access.repository, connectionOf(options), known), request);
  });
  // An image names these: never let it lead from a safe registry to an unsafe place.
  const scheme = access.endpoints[0]!.origin.startsWith("http:") ? /^https?:/ : /^https:/;
  const elsewhere = urls
    .filter((url) => URL.canParse(url) && scheme.test(url))
    .map((url) => urlOpener(new URL(url), connectionOf(options), request));
  return downloadBlob([...atRegistry, ...elsewhere], request, options.retry);
}
