import { statSync } from "node:fs";
import { layerCompression } from "../../formats/oci/index.ts";
import { ConversionError, type LayerResult } from "../conversion/index.ts";
import type { LayerRecord, StoredFile } from "../store/index.ts";
import { type Caller, type ContentClient, callerOfSnapshot } from "./content-client.ts";
import type { Folders } from "./folders.ts";
import { type DescriptorMessage, type ErrorKind, type Mount, ServiceError } from "./grpc/index.ts";
import { placeOf } from "./labels.ts";
import type { LayerConversions } from "./layer-conversions.ts";
import type { LookAhead } from "./look-ahead.ts";
import { LAYER_MOUNT } from "./mount-plan.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Snapshot, SnapshotTable, Usage } from "./state/index.ts";
import type { StoreHolds } from "./store-holds.ts";
import { pathIn } from "./stored-path.ts";

/** Unit of st_blocks, in bytes: stat(2). */
const STAT_BLOCK_BYTES = 512;
const OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
const DIGEST = /^sha256:[0-9a-f]{64}$/;

export interface ApplierParts {
  readonly table: SnapshotTable;
  readonly folders: Folders;
  readonly snapshots: Snapshots;
  readonly conversions: LayerConversions;
  readonly content: ContentClient;
  readonly holds: StoreHolds;
  readonly lookAhead: LookAhead;
  readonly storeRoot: string;
  /** See SnapshotsParts. */
  readonly onImage: (last: Snapshot) => void;
}

/** Puts layers of images into snapshots: converts them into the store, and notes in the snapshot which it is. */
export class Applier {
  readonly #parts: ApplierParts;

  constructor(parts: ApplierParts) {
    this.#parts = parts;
  }

  /**
   * @returns what the layer is uncompressed
   * @throws ServiceError: not implemented for mounts and layers that are not ours to handle, so that containerd tries its
   *   next differ; invalid argument for a layer that is broken
   */
  async apply(layer: DescriptorMessage, mounts: readonly Mount[], told: Caller | null): Promise<DescriptorMessage> {
    const { table, holds, conversions, lookAhead, content } = this.#parts;
    const snapshot = this.#target(mounts);
    const caller = told ?? callerOfSnapshot(snapshot.name);
    if (caller === null) throw new ServiceError("invalid argument", `no namespace, and none in ${snapshot.name}`);
    const compression = layerCompression(layer.mediaType);
    if (compression === undefined || !DIGEST.test(layer.digest))
      throw new ServiceError("not implemented", `layer ${layer.digest} of type ${layer.mediaType}`);
    const { size } = await content.info(layer.digest, caller);
    const wanted = { digest: layer.digest, size, compression };
    lookAhead.start(layer.digest, caller);
    const { key, record, tar } = await this.#convert(() => conversions.convert(wanted, caller.namespace));

    const applied = { ...wanted, key, namespace: caller.namespace, tar };
    const after: Snapshot = { ...this.#target(mounts), layer: applied, usage: this.#usageOf(record) };
    await holds.holdSnapshot(after);
    // It may have been removed while its hold was written, and then nobody would give that back.
    if (table.byId(snapshot.id) === undefined) {
      await holds.release([holds.snapshotKey(snapshot.id)]);
      throw new ServiceError("not found", `snapshot ${snapshot.name} was removed meanwhile`);
    }
    table.write([{ put: after }]);
    await conversions.taken(layer.digest);
    if (placeOf(after.labels) === "last") this.#parts.onImage(after);
    return { mediaType: OCI_LAYER, digest: tar.diffId, size: tar.tarBytes };
  }

  /** The snapshot that a layer is to be put into. */
  #target(mounts: readonly Mount[]): Snapshot {
    const { folders, table, snapshots } = this.#parts;
    const [mount] = mounts;
    const ours = mounts.length === 1 && (mount!.type === LAYER_MOUNT || mount!.type === "bind");
    const id = ours ? folders.idOfUpper(mount!.source) : undefined;
    const snapshot = id === undefined ? undefined : table.byId(id);
    if (snapshot === undefined || !snapshots.isExtraction(snapshot))
      throw new ServiceError("not implemented", "the mounts are not those of a snapshot that waits for a layer");
    return snapshot;
  }

  /** Errors of conversions in containerd's terms. */
  async #convert(convert: () => Promise<LayerResult>): Promise<LayerResult> {
    try {
      return await convert();
    } catch (error) {
      if (!(error instanceof ConversionError)) throw error;
      throw new ServiceError(kindOf(error.code), error.message, { cause: error });
    }
  }

  #usageOf({ meta, blob, stats }: LayerRecord): Usage {
    const files = blob === undefined ? [meta] : [meta, blob];
    const path = pathIn(this.#parts.storeRoot, null);
    const bytes = (file: StoredFile) =>
      (statSync(path(file), { throwIfNoEntry: false })?.blocks ?? 0) * STAT_BLOCK_BYTES;
    return { sizeBytes: files.reduce((sum, file) => sum + bytes(file), 0), inodes: stats.inodes ?? 0 };
  }
}

const KINDS: Readonly<Record<string, ErrorKind>> = {
  ERR_CONVERTER: "unavailable",
  ERR_ABORTED: "unavailable",
  ERR_NOT_FOUND: "not found",
  ERR_STORE_FULL: "resource exhausted",
  ERR_STORE_LIMIT: "resource exhausted",
  ERR_TRUNCATED: "invalid argument",
  ERR_BAD_VALUE: "invalid argument",
  ERR_UNSUPPORTED: "invalid argument",
  ERR_DIGEST: "failed precondition",
  ERR_LENGTH: "failed precondition",
};

export function kindOf(code: string): ErrorKind {
  return KINDS[code] ?? "failed precondition";
}
