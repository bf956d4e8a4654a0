import { type Descriptor, layerCompression, prefetchOfManifest, SourceError } from "../../../formats/oci/index.ts";
import type { MergedChain } from "../../conversion/index.ts";
import { deviceTags } from "../../images/index.ts";
import { type ConvertedImage, DEFAULT_RETRY, type Environment, findConverted } from "../../registry/index.ts";
import type { Caller, ContentClient } from "../content-client.ts";
import type { RemoteLayer, SnapshotTable } from "../state/index.ts";
import { Leases } from "./leases.ts";
import { askedFor, type PulledImage, PulledImages } from "./pulled-image.ts";

/** How long a pull waits while the registry is asked whether there is a converted form, in ms. */
const FIND_MS = 5000;
/** How long it is remembered that an image has none, or that it could not be used, in ms. */
const REMEMBER_MS = 60_000;
/** How often the registry is asked again when it does not answer: a pull waits meanwhile. */
const TRIES = 2;

/** A layer of an image that is served on demand. */
export interface RemoteFound {
  readonly remote: RemoteLayer;
  /** Of the last layer: the image. */
  readonly chain: MergedChain | null;
}

export interface RemoteImagesParts {
  readonly table: SnapshotTable;
  readonly content: ContentClient;
  readonly leases: Leases;
  /** Gives an image's lease back, unless a snapshot is of that image. */
  readonly letGo: (request: string) => void;
  readonly env: Environment;
  /** Take what is attached to an image also when all that is known of the image is its digest. */
  readonly trustReferrers: boolean;
  readonly onFound: (found: ConvertedImage) => void;
  /** Told why a form that was there was not taken. */
  readonly onRefused: (reason: string) => void;
  readonly onWarning: (message: string, error: unknown) => void;
}

/** What is known of an image: null, when it has to be pulled. */
type Known = Promise<readonly RemoteFound[] | null>;

/** Looks for the converted forms of the images that containerd pulls. */
export class RemoteImages {
  readonly #parts: RemoteImagesParts;
  readonly #pulled: PulledImages;
  /** By the manifest's digest, and the name that it was asked for by: each repository has its own converted forms. */
  readonly #known = new Map<string, Known>();

  constructor(parts: RemoteImagesParts) {
    this.#parts = parts;
    this.#pulled = new PulledImages(parts.content);
  }

  /**
   * The layer that a snapshot is made for, when its image is served on demand; null when it has to be pulled, for whatever
   * reason. Never fails: an image can always be pulled.
   * @param chainId what the snapshot will be called
   */
  async layerOf(
    chainId: string,
    labels: Readonly<Record<string, string>>,
    caller: Caller,
  ): Promise<RemoteFound | null> {
    try {
      const image = await this.#pulled.find(chainId, labels, caller);
      if (image === null) return null;
      const layers = await this.#layers(image, labels, caller);
      return layers?.[image.chainIds.indexOf(chainId)] ?? null;
    } catch (error) {
      this.#parts.onWarning("no converted form is looked for", error);
      return null;
    }
  }

  #layers(image: PulledImage, labels: Readonly<Record<string, string>>, caller: Caller): Known {
    const key = `${image.manifestDigest} ${askedFor(labels) ?? ""}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const layers = this.#open(image, labels, caller).catch((error) => {
      this.#parts.onWarning(`${image.manifestDigest} is pulled: its converted form cannot be used`, error);
      return null;
    });
    this.#known.set(key, layers);
    const forget = async () => {
      this.#known.delete(key);
      const request = (await layers)?.at(-1)?.remote.request;
      if (request) this.#parts.letGo(request); // The pull may have broken off.
    };
    setTimeout(() => void forget(), REMEMBER_MS).unref();
    return layers;
  }

  /** Finds the converted form and has its metadata fetched: from then on nothing but blobs is missing. */
  async #open(
    image: PulledImage,
    labels: Readonly<Record<string, string>>,
    caller: Caller,
  ): Promise<readonly RemoteFound[] | null> {
    if (!image.layers.every(({ mediaType }) => layerCompression(mediaType) !== undefined)) return null;
    const found = await this.#find(image, labels, caller);
    if (found === undefined) return null;
    const { meta, devices } = found.layers;
    const { repository, endpoints } = found.access;
    const blobs = [{ layer: meta, isWhole: true }, ...devices.map((layer) => ({ layer, isWhole: false }))];
    const digests = blobs.map(({ layer }) => layer.contentDigest);
    const prefetch = prefetchOfManifest(found.manifest, digests, this.#parts.onRefused);
    const request = Leases.requestFor({ repository, endpoints, blobs, prefetch });
    const { chain, paths } = await this.#parts.leases.get(request);
    // What is fetched of them goes again, also when the pull breaks off before a snapshot has them.
    this.#parts.table.rememberServed(chain.blobs.map(({ digestHex }) => digestHex));
    try {
      checkTags(deviceTags(paths.get(chain.meta.digestHex)!), chain);
    } catch (error) {
      this.#parts.letGo(request);
      throw error;
    }
    this.#parts.onFound(found);
    const last = image.layers.length - 1;
    return image.layers.map((layer, i) => ({
      remote: { ...tarOf(layer), repository, endpoints, request: i === last ? request : null },
      chain: i === last ? chain : null,
    }));
  }

  async #find(
    image: PulledImage,
    labels: Readonly<Record<string, string>>,
    caller: Caller,
  ): Promise<ConvertedImage | undefined> {
    const { trustReferrers, onRefused } = this.#parts;
    const { platform, manifestDigest } = image;
    const signal = AbortSignal.timeout(FIND_MS);
    for (const reference of await this.#pulled.references(image, labels, caller)) {
      const options = { env: this.#parts.env, retry: { ...DEFAULT_RETRY, tries: TRIES }, signal };
      const found = await findConverted({ reference, platform, trustReferrers, onRefused }, options);
      // A tag that was moved meanwhile leads to another image's.
      if (found !== undefined && found.how !== "itself" && found.sourceDigest === manifestDigest) return found;
    }
    return undefined;
  }
}

function tarOf({ digest, size, mediaType }: Descriptor): Pick<RemoteLayer, "digest" | "size" | "compression"> {
  return { digest, size, compression: layerCompression(mediaType) ?? "detect" };
}

/** The metadata name their blobs by digest: layers in another order would be another image's files. */
function checkTags(tags: readonly string[], { blobs }: MergedChain): void {
  if (tags.length !== blobs.length)
    throw new SourceError("ERR_BAD_MANIFEST", `its metadata have ${tags.length} devices, its manifest ${blobs.length}`);
  for (const [i, tag] of tags.entries())
    if (/^[0-9a-f]{64}$/.test(tag) && tag !== blobs[i]!.digestHex)
      throw new SourceError(
        "ERR_BAD_MANIFEST",
        `device ${i + 1} holds ${blobs[i]!.digestHex}, its metadata say ${tag}`,
      );
}
