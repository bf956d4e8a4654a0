import { createHash } from "node:crypto";
import { FormatError } from "../../../formats/bytes/index.ts";
import {
  type Descriptor,
  type Digest,
  DocumentError,
  isDigest,
  MAX_CONFIG_BYTES,
  MAX_MANIFEST_BYTES,
  type Platform,
  parseImageConfig,
  parseManifest,
  parseReference,
  type Reference,
} from "../../../formats/oci/index.ts";
import type { Caller, ContentClient, ContentInfo } from "../content-client.ts";
import { ServiceError } from "../grpc/index.ts";

/** Labels by which containerd ties an image's parts to its manifest, and manifests to their index. */
const CONFIG_LABEL = "containerd.io/gc.ref.content.config";
const ENTRY_LABEL = "containerd.io/gc.ref.content.m.";
/** Label of content that came from a registry, followed by the registry's name; its value lists repositories. */
const SOURCE_LABEL = "containerd.io/distribution.source.";
/** Labels of CRI and of the transfer service on a snapshot: the image as it was asked for, and its manifest. */
const IMAGE_REF = "containerd.io/snapshot/cri.image-ref";
const MANIFEST_DIGEST = "containerd.io/snapshot/cri.manifest-digest";
/** Entries of an index whose labels are looked at. */
const MAX_ENTRIES = 32;
/** Manifests that are read for one snapshot, the newest first. */
const MAX_READ = 16;
/** Images that are remembered. */
const MAX_KNOWN = 256;
/** Names of one image that are looked at. */
const MAX_REFERENCES = 4;

/** An image that containerd is pulling, or has. */
export interface PulledImage {
  readonly manifestDigest: Digest;
  readonly layers: readonly Descriptor[];
  /** What containerd calls the snapshot of each layer: the digest of the layers' diff IDs so far. */
  readonly chainIds: readonly string[];
  readonly platform: Platform;
}

/** Finds the image that a snapshot is made for, in containerd's content: manifest and config are there before any layer. */
export class PulledImages {
  readonly #content: ContentClient;
  readonly #known = new Map<string, PulledImage | null>();

  constructor(content: ContentClient) {
    this.#content = content;
  }

  /**
   * The image that has a layer of this chain ID.
   * @throws ServiceError when containerd cannot be asked
   */
  async find(chainId: string, labels: Readonly<Record<string, string>>, caller: Caller): Promise<PulledImage | null> {
    const told = labels[MANIFEST_DIGEST];
    const images = told !== undefined && isDigest(told) ? [told] : await this.#newest(caller);
    let read = 0;
    for (const digest of images) {
      if (!this.#known.has(digest) && read++ === MAX_READ) return null;
      const image = await this.#image(digest, caller);
      if (image?.chainIds.includes(chainId)) return image;
    }
    return null;
  }

  /** Names under which the image can be looked up in registries, the best first. @throws ServiceError */
  async references(
    { manifestDigest }: PulledImage,
    labels: Readonly<Record<string, string>>,
    caller: Caller,
  ): Promise<Reference[]> {
    const asked = askedFor(labels);
    const named = asked === undefined ? undefined : parsed(() => parseReference(asked));
    if (named !== undefined) return [named];
    const filters = Array.from({ length: MAX_ENTRIES }, (_, i) => `labels."${ENTRY_LABEL}${i}"==${manifestDigest}`);
    const indexes = await this.#content.list(filters, caller);
    const own = await this.#content.info(manifestDigest, caller);
    return [...indexes, own].flatMap(sourcesOf).slice(0, MAX_REFERENCES);
  }

  /** Digests of all manifests, the one that was touched last first. */
  async #newest(caller: Caller): Promise<string[]> {
    const found = await this.#content.list([`labels."${CONFIG_LABEL}"`], caller);
    const touched = ({ updatedAt }: ContentInfo) => (updatedAt?.seconds ?? 0) + (updatedAt?.nanos ?? 0) / 1e9;
    return found.sort((a, b) => touched(b) - touched(a)).map(({ digest }) => digest);
  }

  async #image(digest: string, caller: Caller): Promise<PulledImage | null> {
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    try {
      const image = await this.#read(digest, caller);
      if (this.#known.size >= MAX_KNOWN) this.#known.clear();
      this.#known.set(digest, image);
      return image;
    } catch (error) {
      // Its config may still be on the way.
      if (error instanceof ServiceError && error.kind === "not found") return null;
      throw error;
    }
  }

  async #read(digest: string, caller: Caller): Promise<PulledImage | null> {
    const bytes = await this.#content.readAll(digest, MAX_MANIFEST_BYTES, caller);
    const manifest = parsed(() => parseManifest(bytes));
    if (manifest?.kind !== "manifest" || !isDigest(digest)) return null;
    const raw = await this.#content.readAll(manifest.config.digest, MAX_CONFIG_BYTES, caller);
    const config = parsed(() => parseImageConfig(raw));
    if (config === undefined || config.diffIds.length !== manifest.layers.length) return null;
    const { layers } = manifest;
    return { manifestDigest: digest, layers, chainIds: chainIdsOf(config.diffIds), platform: config.platform };
  }
}

/** The image as it was asked for, when containerd tells it. */
export function askedFor(labels: Readonly<Record<string, string>>): string | undefined {
  return labels[IMAGE_REF];
}

/** OCI image spec, config.md, "Layer ChainID". */
export function chainIdsOf(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    const both = below === undefined ? undefined : createHash("sha256").update(`${below} ${diffId}`).digest("hex");
    chain.push(both === undefined ? diffId : `sha256:${both}`);
  }
  return chain;
}

/** Where content came from, by its digest. */
function sourcesOf({ digest, labels }: ContentInfo): Reference[] {
  const found: Reference[] = [];
  for (const [label, value] of Object.entries(labels)) {
    if (!label.startsWith(SOURCE_LABEL)) continue;
    for (const repository of value.split(",")) {
      const reference = parsed(() => parseReference(`${label.slice(SOURCE_LABEL.length)}/${repository}@${digest}`));
      if (reference !== undefined) found.push(reference);
    }
  }
  return found;
}

/** undefined for what is not as its format has it: then it is no image that we could serve. */
function parsed<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof DocumentError || error instanceof FormatError) return undefined;
    throw error;
  }
}
