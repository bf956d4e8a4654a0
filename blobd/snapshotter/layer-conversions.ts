import { statSync } from "node:fs";
import { join } from "node:path";
import type { ConverterPool, LayerBytes, LayerResult } from "../conversion/index.ts";
import type { Environment } from "../registry/index.ts";
import type { ContentClient } from "./content-client.ts";
import { openRemoteLayer } from "./remote/index.ts";
import type { AppliedLayer, RemoteLayer, SnapshotTable } from "./state/index.ts";
import type { StoreHolds } from "./store-holds.ts";

/** A layer as it is stored in containerd. */
export type LayerContent = Pick<AppliedLayer, "digest" | "size" | "compression">;

export interface LayerConversionParts {
  readonly table: SnapshotTable;
  readonly pool: ConverterPool;
  readonly content: ContentClient;
  readonly holds: StoreHolds;
  readonly storeRoot: string;
  /** For layers that are fetched from registries. */
  readonly env: Environment;
  /** Most bytes that a layer may take on the disk. */
  readonly maxLayerBytes: number | null;
  /** Told how it went. */
  readonly onConverted: (result: LayerResult, seconds: number) => void;
}

/** A layer's bytes: a file with exactly these, or as they come. */
interface Opened {
  readonly path: string | null;
  readonly bytes?: LayerBytes;
}

/**
 * Layers on their way from containerd's content to the store, each once however many want it. The result is held by its
 * conversion; whoever makes it a snapshot's own holds it anew and then calls `taken`.
 */
export class LayerConversions {
  readonly #parts: LayerConversionParts;
  readonly #running = new Map<string, Promise<LayerResult>>();

  constructor(parts: LayerConversionParts) {
    this.#parts = parts;
  }

  /** Whether it is being converted. */
  isRunning(digest: string): boolean {
    return this.#running.has(digest);
  }

  /** The layer in the store. @throws ConversionError, ServiceError when the content is not there */
  convert(layer: LayerContent, namespace: string): Promise<LayerResult> {
    return this.#once(layer, async () => {
      const path = await this.contentFile(layer);
      return path === null ? { path, bytes: this.#parts.content.read(layer.digest, { namespace }) } : { path };
    });
  }

  /** The same for a layer that is not in containerd's content. @throws ConversionError, SourceError */
  fetch(layer: RemoteLayer): Promise<LayerResult> {
    return this.#once(layer, async () => ({ path: null, bytes: openRemoteLayer(layer, this.#parts.env) }));
  }

  /** Gives a conversion's hold back: somebody else holds its result now, or nobody wants it. @throws StoreError */
  async taken(digest: string): Promise<void> {
    const { holds } = this.#parts;
    await holds.release([holds.conversionKey(digest)]);
  }

  /** The file in containerd's content store that has exactly these bytes, when we can see it. */
  async contentFile({ digest, size }: Pick<LayerContent, "digest" | "size">): Promise<string | null> {
    const root = await this.#parts.content.contentRoot();
    if (root === null) return null;
    const path = join(root, "blobs", digest.replace(":", "/"));
    const found = statSync(path, { throwIfNoEntry: false });
    return found?.isFile() && found.size === size ? path : null;
  }

  #once(layer: LayerContent, open: () => Promise<Opened>): Promise<LayerResult> {
    const running = this.#running.get(layer.digest);
    if (running !== undefined) return running;
    const conversion = this.#convert(layer, open).finally(() => this.#running.delete(layer.digest));
    this.#running.set(layer.digest, conversion);
    return conversion;
  }

  async #convert(layer: LayerContent, open: () => Promise<Opened>): Promise<LayerResult> {
    const { pool, table, holds, storeRoot, maxLayerBytes, onConverted } = this.#parts;
    const startMs = performance.now();
    const { path, bytes } = await open();
    const result = await pool.run(
      {
        kind: "layer",
        store: storeRoot,
        digest: layer.digest,
        size: layer.size,
        compression: layer.compression,
        path,
        known: table.tarOf(layer.digest),
        maxBlobBytes: maxLayerBytes,
        hold: { key: holds.conversionKey(layer.digest), owner: holds.owner },
      },
      bytes === undefined ? {} : { bytes },
    );
    table.rememberTar(layer.digest, result.tar);
    onConverted(result, (performance.now() - startMs) / 1000);
    return result;
  }
}
