import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { isManifest, layerCompression, type Manifest, parseManifest } from "../../formats/oci/index.ts";
import type { Caller, ContentClient, ContentInfo } from "./content-client.ts";
import type { LayerContent, LayerConversions } from "./layer-conversions.ts";
import type { SnapshotTable } from "./state/index.ts";

/** Labels by which containerd ties a manifest's layers to it, so that they are not collected as garbage. */
const LAYER_LABEL = "containerd.io/gc.ref.content.l.";
/** Layers of an image whose labels are looked at: Docker's limit. */
const LABELS = 128;
/** How often the layers that are still on their way are looked for, in ms. */
const POLL_MS = 25;
/** How long after the last layer of an image was asked for its others are waited for, in ms. */
const PATIENCE_MS = 30_000;
/** Images looked ahead for at once. */
const MAX_IMAGES = 8;
/** How long the result of a layer that nobody asked for is kept, in ms: an unpacking that broke off comes back soon. */
const KEEP_MS = 10 * 60_000;

export interface LookAheadParts {
  readonly table: SnapshotTable;
  readonly content: ContentClient;
  readonly conversions: LayerConversions;
  readonly onWarning: (message: string, error: unknown) => void;
}

/** An image whose layers are being asked for. */
interface Image {
  readonly digests: ReadonlySet<string>;
  /** Layers that nobody has asked for yet and that are not in work. */
  waiting: LayerContent[];
  /** When one of its layers was last asked for. */
  lastMs: number;
}

/**
 * containerd unpacks an image's layers one after the other, and waits for each. But what a layer converts to does not
 * depend on those below it: as soon as the first layer is asked for, the others are converted too, as they arrive in
 * containerd's content store, and are ready when their turn comes.
 */
export class LookAhead {
  readonly #parts: LookAheadParts;
  readonly #images = new Map<string, Image>();
  /** Layers that were asked for of late: they have had their turn, also when their image is found only now. */
  readonly #asked = new Set<string>();
  #closed = false;

  constructor(parts: LookAheadParts) {
    this.#parts = parts;
  }

  /** A layer was asked for: sees to the rest of its image, in the background. */
  start(digest: string, caller: Caller): void {
    this.#asked.add(digest);
    setTimeout(() => this.#asked.delete(digest), PATIENCE_MS).unref();
    let known = false;
    for (const image of this.#images.values()) {
      if (!image.digests.has(digest)) continue;
      known = true;
      image.lastMs = performance.now();
      image.waiting = image.waiting.filter((layer) => layer.digest !== digest);
    }
    if (known || this.#images.size >= MAX_IMAGES) return;
    this.#find(digest, caller).catch((error) => this.#parts.onWarning("layers are not converted ahead", error));
  }

  /** Starts nothing more. */
  close(): void {
    this.#closed = true;
  }

  async #find(digest: string, caller: Caller): Promise<void> {
    const filters = Array.from({ length: LABELS }, (_, i) => `labels."${LAYER_LABEL}${i}"==${digest}`);
    const [info] = await this.#parts.content.list(filters, caller);
    if (info === undefined || this.#images.has(info.digest)) return;
    const layers = await this.#layersOf(info);
    const image: Image = {
      digests: new Set(layers.map((layer) => layer.digest)),
      waiting: layers.filter((layer) => !this.#asked.has(layer.digest)),
      lastMs: performance.now(),
    };
    this.#images.set(info.digest, image);
    try {
      await this.#convertAsTheyCome(image, caller.namespace);
    } finally {
      this.#images.delete(info.digest);
    }
  }

  async #convertAsTheyCome(image: Image, namespace: string): Promise<void> {
    const { conversions } = this.#parts;
    while (image.waiting.length > 0 && !this.#closed && performance.now() - image.lastMs < PATIENCE_MS) {
      for (const layer of [...image.waiting]) {
        const isThere = (await conversions.contentFile(layer)) !== null;
        if (!isThere || !image.waiting.includes(layer)) continue;
        image.waiting = image.waiting.filter((one) => one !== layer);
        this.#convert(layer, namespace);
      }
      if (image.waiting.length > 0) await sleep(POLL_MS, undefined, { ref: false });
    }
  }

  #convert(layer: LayerContent, namespace: string): void {
    const { conversions, onWarning } = this.#parts;
    const { digest } = layer;
    const giveUp = () => {
      if (!conversions.isRunning(digest))
        conversions.taken(digest).catch((error) => onWarning(`the hold on layer ${digest} is kept`, error));
    };
    // Whoever asks for the layer itself is told when it fails.
    conversions.convert(layer, namespace).then(
      () => void setTimeout(giveUp, KEEP_MS).unref(),
      () => {},
    );
  }

  /** The layers of a manifest in containerd's content, as far as they can be converted. */
  async #layersOf({ digest, size }: ContentInfo): Promise<LayerContent[]> {
    const path = await this.#parts.conversions.contentFile({ digest, size });
    if (path === null) return [];
    const manifest = manifestOf(await readFile(path));
    // Those that are served are not on their way.
    const served = new Set([...this.#parts.table.all()].map(({ remote }) => remote?.digest));
    return (manifest?.layers ?? []).flatMap(({ digest, size, mediaType }) => {
      const compression = layerCompression(mediaType);
      return compression === undefined || served.has(digest) ? [] : [{ digest, size, compression }];
    });
  }
}

function manifestOf(bytes: Uint8Array): Manifest | undefined {
  const parsed = parseManifest(bytes);
  return parsed.kind === "manifest" && isManifest(parsed.mediaType) ? parsed : undefined;
}
