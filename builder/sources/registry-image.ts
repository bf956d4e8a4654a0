/** Images in a registry: their documents, and their layers. */
import {
  type BlobRequest,
  connectionOf,
  downloadBlob,
  firstEndpoint,
  RegistryClient,
  type RegistryOptions,
  type RepositoryReader,
  registryOpener,
  urlOpener,
} from "../../blobd/registry/index.ts";
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
  const { result, access } = await firstEndpoint(spec.reference, spec.plainHttp, options, (reader) =>
    readDocuments(documentStore(reader, spec), spec.platform),
  );
  return { documents: result, access: { kind: "registry", ...access } };
}

function documentStore(reader: RepositoryReader, spec: RegistrySpec): DocumentStore {
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
