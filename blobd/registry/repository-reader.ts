/** The small documents of one repository: manifests, indexes, configs. Every one is what its digest says. */
import {
  type Digest,
  type Index,
  MANIFEST_TYPES,
  MAX_CONFIG_BYTES,
  MAX_MANIFEST_BYTES,
  type Manifest,
  parseManifest,
  SourceError,
} from "../../formats/oci/index.ts";
import type { RegistryClient } from "./client.ts";
import { type Answer, header, readBody } from "./http.ts";
import type { RegistryOptions } from "./options.ts";
import { parsed } from "./parsed.ts";
import { retrying } from "./retry.ts";
import { checkContent, type Expected, sha256, wrongDigest } from "./verify.ts";

/** A manifest or index, and what came with it. */
export interface FetchedManifest {
  readonly document: Manifest | Index;
  readonly digest: Digest;
  /** As it is in the registry. */
  readonly bytes: Buffer;
}

/** Which manifest: the digest decides when both are there. */
export interface ManifestName {
  readonly tag?: string;
  readonly digest?: Digest;
}

const ACCEPT = { accept: MANIFEST_TYPES.join(", ") };

export class RepositoryReader {
  readonly client: RegistryClient;
  /** For errors: the image as its user named it. */
  readonly name: string;
  readonly options: RegistryOptions;

  constructor(client: RegistryClient, name: string, options: RegistryOptions) {
    this.client = client;
    this.name = name;
    this.options = options;
  }

  /**
   * What a tag or a digest names.
   * @throws SourceError: ERR_DIGEST when it is not what the digest, or the registry's own header, says
   */
  async manifest({ tag, digest: wanted }: ManifestName): Promise<FetchedManifest> {
    const what = `${this.name}: manifest`;
    const { answer, bytes } = await this.fetch(`manifests/${wanted ?? tag}`, ACCEPT, MAX_MANIFEST_BYTES, this.name);
    const digest = sha256(bytes);
    const stated = wanted ?? header(answer.response, "docker-content-digest");
    if (stated?.startsWith("sha256:") && stated !== digest) throw wrongDigest(what, digest, stated);
    const document = parsed(this.name, () => parseManifest(bytes, header(answer.response, "content-type")));
    return { document, digest, bytes };
  }

  /** The same, of a tag that need not be there. @throws SourceError */
  async optionalTag(tag: string): Promise<FetchedManifest | undefined> {
    try {
      return await this.manifest({ tag });
    } catch (error) {
      if (error instanceof SourceError && error.code === "ERR_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** A manifest or index that a descriptor names. @throws SourceError */
  async listed(descriptor: Expected & { readonly mediaType: string }): Promise<FetchedManifest> {
    const bytes = await this.listedBytes(descriptor);
    return {
      document: parsed(this.name, () => parseManifest(bytes, descriptor.mediaType)),
      digest: descriptor.digest,
      bytes,
    };
  }

  /** The bytes of a manifest that a descriptor names. @throws SourceError */
  async listedBytes(descriptor: Expected): Promise<Buffer> {
    this.#limit(descriptor, MAX_MANIFEST_BYTES);
    const what = `${this.name}: manifest ${descriptor.digest}`;
    const { bytes } = await this.fetch(`manifests/${descriptor.digest}`, ACCEPT, MAX_MANIFEST_BYTES, what);
    checkContent(bytes, descriptor, what);
    return bytes;
  }

  /** A config. @throws SourceError */
  async config(descriptor: Expected): Promise<Buffer> {
    this.#limit(descriptor, MAX_CONFIG_BYTES);
    const what = `${this.name}: config ${descriptor.digest}`;
    const { bytes } = await this.fetch(`blobs/${descriptor.digest}`, {}, MAX_CONFIG_BYTES, what);
    checkContent(bytes, descriptor, what);
    return bytes;
  }

  /** GET of a path of the repository, tried again as often as the policy has it. @throws SourceError */
  fetch(
    path: string | URL,
    headers: Readonly<Record<string, string>>,
    limitBytes: number,
    what: string,
  ): Promise<{ answer: Answer; bytes: Buffer }> {
    const { retry, signal } = this.options;
    return retrying(retry, signal, async () => {
      const answer = await this.client.get(path, headers, what);
      return { answer, bytes: await readBody(answer, limitBytes, what, signal) };
    });
  }

  #limit({ digest, size }: Expected, mostBytes: number): void {
    if (size > mostBytes)
      throw new SourceError(
        "ERR_LIMIT",
        `${this.name}: ${digest} is ${size} bytes long, at most ${mostBytes} are accepted`,
      );
  }
}
