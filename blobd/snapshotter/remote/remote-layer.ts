import { type Digest, isDigest, SourceError } from "../../../formats/oci/index.ts";
import {
  connectionOf,
  DEFAULT_RETRY,
  downloadBlob,
  type Environment,
  RegistryClient,
  registryOpener,
} from "../../registry/index.ts";
import type { RemoteLayer } from "../state/index.ts";

/** The bytes of a layer that was not pulled, from its registry; they are checked at the end. @throws SourceError */
export function openRemoteLayer(layer: RemoteLayer, env: Environment): AsyncGenerator<Uint8Array, void, undefined> {
  const { repository, endpoints, size } = layer;
  const options = { env, retry: DEFAULT_RETRY };
  const request = { digest: checked(layer.digest), size, what: `${repository}: layer ${layer.digest}` };
  const openers = endpoints.map((endpoint) =>
    registryOpener(new RegistryClient(endpoint, repository, connectionOf(options)), request),
  );
  return downloadBlob(openers, request, options.retry);
}

function checked(digest: string): Digest {
  if (isDigest(digest)) return digest;
  throw new SourceError("ERR_BAD_MANIFEST", `layer ${digest}: expected a sha256 digest`);
}
