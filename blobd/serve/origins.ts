import type { Digest, ErofsLayer } from "../../formats/oci/index.ts";
import { type BlobSource, type FetchOptions, Line, registrySource } from "../fetch/index.ts";
import type { Environment } from "../registry/index.ts";
import type { BlobOrigin } from "./served.ts";

/** Where blobs come from, and the lines to there. */
export class Origins {
  readonly #fetch: FetchOptions;
  readonly #env: Environment;
  readonly #lines = new Map<string, Line>();

  constructor(fetch: FetchOptions, env: Environment) {
    this.#fetch = fetch;
    this.#env = env;
  }

  /** The servers that have a blob, in the order of asking. */
  sources({ endpoints, repository }: BlobOrigin, digest: Digest): BlobSource[] {
    const connection = { env: this.#env, stallMs: this.#fetch.stallMs };
    return endpoints.map((endpoint) => registrySource(endpoint, repository, digest, connection));
  }

  /** Those that have a layer's chunk index. */
  indexSources(origin: BlobOrigin, layer: ErofsLayer): BlobSource[] {
    return this.sources(origin, layer.chunkIndex?.blob ?? layer.descriptor.digest);
  }

  /** Registries are told apart by the last of their endpoints: the others are mirrors of it. */
  line({ endpoints }: BlobOrigin): Line {
    const key = endpoints.at(-1)?.origin ?? "";
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = new Line(this.#fetch);
      this.#lines.set(key, line);
    }
    return line;
  }
}
