import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ConversionError, type ConverterPool, type DiffResult } from "../conversion/index.ts";
import { kindOf } from "./apply.ts";
import type { Caller, ContentClient } from "./content-client.ts";
import type { Folders } from "./folders.ts";
import { type DescriptorMessage, type Mount, ServiceError, type Timestamp } from "./grpc/index.ts";
import { type MountParts, partsOf } from "./mount-plan.ts";
import { isImageLayer, type SnapshotTable } from "./state/index.ts";
import type { VmImages } from "./vm-images.ts";

/** How containerd's clients find a layer's diff ID (labels.LabelUncompressed). */
const UNCOMPRESSED = "containerd.io/uncompressed";
const COMPRESSIONS: Readonly<Record<string, "none" | "gzip" | "zstd">> = {
  "application/vnd.oci.image.layer.v1.tar": "none",
  "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
  "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
};
const DEFAULT_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";
/** Bytes of content in one message to containerd. */
const CHUNK_BYTES = 1 << 20;

export interface DiffRequest {
  readonly left: readonly Mount[];
  readonly right: readonly Mount[];
  readonly mediaType: string;
  readonly ref: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly sourceDateEpoch: Timestamp | null;
}

export interface ComparerParts {
  readonly table: SnapshotTable;
  readonly folders: Folders;
  readonly pool: ConverterPool;
  readonly content: ContentClient;
  readonly vm: VmImages;
}

/** Makes layers of what containers changed: the upper directories of their overlays already hold just that. */
export class Comparer {
  readonly #parts: ComparerParts;

  constructor(parts: ComparerParts) {
    this.#parts = parts;
  }

  /**
   * Writes the layer into containerd's content.
   * @throws ServiceError: not implemented for anything but a snapshot of ours and its parent, so that containerd tries its
   *   next differ, which compares by reading both
   */
  async compare(request: DiffRequest, caller: Caller, signal: AbortSignal): Promise<DescriptorMessage> {
    const { pool, folders } = this.#parts;
    const mediaType = request.mediaType || DEFAULT_TYPE;
    const compression = COMPRESSIONS[mediaType];
    if (compression === undefined) throw new ServiceError("not implemented", `layers of type ${mediaType}`);
    const upper = this.#changes(request);
    const output = join(folders.tmp, randomBytes(9).toString("hex"));
    try {
      const latestSeconds = request.sourceDateEpoch?.seconds ?? null;
      const diff = await pool.run({ kind: "diff", upper, output, compression, latestSeconds }, { signal });
      await this.#store(request, diff, output, caller);
      return { mediaType, digest: diff.digest, size: diff.size };
    } catch (error) {
      if (!(error instanceof ConversionError)) throw error;
      // What an upper directory cannot tell, containerd's own differ can find out.
      const kind = error.code === "ERR_UNSUPPORTED" ? "not implemented" : kindOf(error.code);
      throw new ServiceError(kind, error.message, { cause: error });
    } finally {
      await rm(output, { force: true });
    }
  }

  /** The directory that holds what `right` has beyond `left`. */
  #changes({ left, right }: DiffRequest): string {
    const [below, above] = [partsOf(left), partsOf(right)];
    const changes = above === null || below === null ? null : changesOf(below, above);
    if (changes === null || this.#idOf(changes.directory) === undefined)
      throw new ServiceError("not implemented", "the mounts are not those of a snapshot and its parent");
    // A view of nothing is a view of its own empty directory.
    const isSame = sameList(changes.lowers, below!.lowers) || (changes.lowers.length === 0 && this.#isNothing(below!));
    if (!isSame) throw new ServiceError("not implemented", "the mounts are not those of a snapshot and its parent");
    return changes.directory;
  }

  #idOf(directory: string): number | undefined {
    const id = this.#parts.folders.idOfUpper(directory);
    const snapshot = id === undefined ? undefined : this.#parts.table.byId(id);
    if (snapshot === undefined || isImageLayer(snapshot)) return undefined;
    // What is written in a guest is not here.
    const form = this.#parts.vm.formOf(snapshot);
    return form === null || form === "layered" ? id : undefined;
  }

  #isNothing({ lowers: [directory, ...more] }: MountParts): boolean {
    const id = directory === undefined || more.length > 0 ? undefined : this.#idOf(directory);
    const snapshot = id === undefined ? undefined : this.#parts.table.byId(id);
    return snapshot?.kind === "view" && snapshot.parent === "";
  }

  async #store(request: DiffRequest, diff: DiffResult, file: string, caller: Caller): Promise<void> {
    const { content } = this.#parts;
    const { digest, size, diffId } = diff;
    const ref = request.ref || `erofsify-diff-${randomBytes(9).toString("hex")}`;
    const labels = { ...request.labels, [UNCOMPRESSED]: diffId };
    try {
      const bytes = createReadStream(file, { highWaterMark: CHUNK_BYTES });
      await content.write(ref, { digest, size, labels }, bytes, caller);
    } catch (error) {
      if (!(error instanceof ServiceError) || error.kind !== "already exists") {
        await content.abort(ref, caller).catch(() => {});
        throw error;
      }
      await content.setLabel(digest, UNCOMPRESSED, diffId, caller);
    }
  }
}

/** The topmost directory of `above`, and what lies below it. */
function changesOf(below: MountParts, above: MountParts): { directory: string; lowers: readonly string[] } | null {
  if (below.upper !== null) return null;
  if (above.upper !== null) return { directory: above.upper, lowers: above.lowers };
  const [directory, ...lowers] = above.lowers;
  return directory === undefined ? null : { directory, lowers };
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}
