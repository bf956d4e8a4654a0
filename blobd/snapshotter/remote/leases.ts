import { statSync } from "node:fs";
import { formatServeRequest, parseControlRequest, type ServeRequest } from "../../../formats/control/index.ts";
import { digestHex } from "../../../formats/oci/index.ts";
import type { MergedChain } from "../../conversion/index.ts";
import { type Lease, leaseBlobs } from "../../lease/index.ts";
import type { StoredFile } from "../../store/index.ts";

const BLOCK_BYTES = 4096;
/** How long `blobd serve` may take until an image's metadata is there, in ms. */
const LEASE_MS = 60_000;

/** The converted form of an image, as files of this host. */
export interface ServedImage {
  readonly chain: MergedChain;
  /** Where each file of the chain is, by its digest. */
  readonly paths: ReadonlyMap<string, string>;
  /** Device number of the mount that shows what is not in the store; null when all is there. */
  readonly servedBy: number | null;
}

interface Held {
  readonly asked: ServeRequest;
  readonly lease: Lease;
}

/** What `blobd serve` was asked for on behalf of snapshots: a lease for each image, held until nobody needs it. */
export class Leases {
  readonly #storeRoot: string;
  readonly #onWarning: (message: string) => void;
  /** By request. */
  readonly #held = new Map<string, Promise<Held>>();
  readonly #closing = new AbortController();
  #counting: Promise<number> | null = null;

  constructor(storeRoot: string, onWarning: (message: string) => void) {
    this.#storeRoot = storeRoot;
    this.#onWarning = onWarning;
  }

  /** The request of an image's metadata, which have to be there before the answer, and its blobs. */
  static requestFor(request: Omit<ServeRequest, "isRecorded">): string {
    return formatServeRequest(request);
  }

  isHeld(request: string): boolean {
    return this.#held.has(request);
  }

  /** The image of a request. @throws SourceError; the system's errors */
  async get(request: string): Promise<ServedImage> {
    let held = this.#held.get(request);
    if (held === undefined) {
      held = this.#take(request);
      this.#held.set(request, held);
      held.catch(() => this.#held.delete(request));
    }
    const { asked, lease } = await held;
    // Looked at each time: files that have become complete are others when another process has taken over.
    return imageOf(asked, lease);
  }

  /** Has all blobs of an image fetched. @throws SourceError */
  async fetchAll(request: string): Promise<void> {
    const asked = blobsOf(request);
    const blobs = asked.blobs.map(({ layer }) => ({ layer, isWhole: true }));
    const lease = await leaseBlobs(this.#storeRoot, { ...asked, blobs }, { signal: this.#closing.signal });
    lease.end(); // The snapshot's own hold names them.
  }

  /** Gives an image back. */
  drop(request: string): void {
    const held = this.#held.get(request);
    this.#held.delete(request);
    held?.then(({ lease }) => lease.end()).catch(() => {});
  }

  /** Bytes that were fetched of all images that are held, as they came. */
  fetchedBytes(): Promise<number> {
    // A lease answers one question at a time.
    this.#counting ??= this.#count().finally(() => {
      this.#counting = null;
    });
    return this.#counting;
  }

  async #count(): Promise<number> {
    const all = await Promise.allSettled(this.#held.values());
    const counts = all.map((one) => (one.status === "fulfilled" ? one.value.lease.fetched() : undefined));
    return (await Promise.all(counts)).reduce((sum, one) => sum + (one?.storedBytes ?? 0), 0);
  }

  /** Ends all leases. Mounts keep their files open. */
  close(): void {
    this.#closing.abort(new Error("the snapshotter stops"));
    for (const request of [...this.#held.keys()]) this.drop(request);
  }

  async #take(request: string): Promise<Held> {
    const asked = blobsOf(request);
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(LEASE_MS)]);
    const onLost = () => {
      this.#held.delete(request);
      this.#onWarning("blobd serve has ended: images that are served on demand cannot be read until it is back");
    };
    return { asked, lease: await leaseBlobs(this.#storeRoot, asked, { signal, onLost }) };
  }
}

/** @throws TypeError for a request that asks for something else */
function blobsOf(request: string): ServeRequest {
  const asked = parseControlRequest(Buffer.from(request));
  if (typeof asked === "string") throw new TypeError(`not a request for blobs: ${asked}`);
  return asked;
}

function imageOf({ blobs }: ServeRequest, lease: Lease): ServedImage {
  let servedBy: number | null = null;
  const paths = new Map<string, string>();
  const files = blobs.map(({ layer }, i): StoredFile => {
    const { path, isComplete } = lease.blobs[i]!;
    const { size, dev } = statSync(path);
    if (!isComplete) servedBy = dev;
    const hex = digestHex(layer.contentDigest);
    paths.set(hex, path);
    return { digestHex: hex, size, blocks: size / BLOCK_BYTES };
  });
  const [meta, ...devices] = files;
  return { chain: { meta: meta!, blobs: devices }, paths, servedBy };
}
