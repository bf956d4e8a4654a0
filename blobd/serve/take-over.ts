import { existsSync } from "node:fs";
import { formatServeRequest, parseControlRequest, type ServeRequest } from "../../formats/control/index.ts";
import { digestHex, type ErofsLayer } from "../../formats/oci/index.ts";
import type { BlobTable } from "../fuse/blobs/index.ts";
import type { HeldMount, SessionTerms } from "../fuse/device/index.ts";
import { type PartialBlob, Store } from "../store/index.ts";
import { sharedFile } from "./recorded-files.ts";
import type { BlobOrigin } from "./served.ts";

/** A mount that outlives the service's process, and what a successor has to know. */
export interface Keeping {
  readonly mount: HeldMount;
  /** Of the table's memory. */
  readonly tableFd: number;
  /** How the blobs that the mount shows were asked for, by key: lines of `notedOrigin`. */
  readonly origins: ReadonlyMap<string, string>;
  /** The mount is served, on these terms. */
  started(terms: SessionTerms): void;
  shown(key: string, origin: string): void;
  gone(key: string): void;
}

/** What a blob is fetched by, as a line. */
export function notedOrigin(origin: BlobOrigin, layer: ErofsLayer): string {
  return formatServeRequest({ ...origin, blobs: [{ layer, isWhole: false }] });
}

/** What the service before has shown, and this one shows now. */
export type TakenOver = { readonly index: number } & (
  | { readonly partial: PartialBlob; readonly origin: BlobOrigin; readonly layer: ErofsLayer }
  /** It has become complete. */
  | { readonly close: () => void }
);

/**
 * Opens again what a service that has died has shown: before the mount is served. What cannot be had any more is given up, and
 * who has it open gets errors: blobs whose reads were recorded, those that are gone from the store.
 * @throws StoreError
 */
export async function takeOver(storeRoot: string, table: BlobTable, { origins }: Keeping): Promise<TakenOver[]> {
  const taken: TakenOver[] = [];
  const store = await Store.open(storeRoot);
  try {
    for (const { index, name } of table.shown()) {
      const line = origins.get(name);
      const found = line === undefined ? undefined : await reopen(store, name, parseServe(line));
      if (found === undefined) table.giveUp(index);
      else {
        table.takeOver(index, "partial" in found ? found.partial.shared : found.shared);
        taken.push({ index, ...found });
      }
    }
    return taken;
  } finally {
    store.close();
  }
}

function parseServe(line: string): ServeRequest {
  const request = parseControlRequest(Buffer.from(line));
  if (typeof request === "string") throw new Error(`an origin was noted as ${line}`);
  return request;
}

async function reopen(store: Store, key: string, origin: ServeRequest) {
  const { layer } = origin.blobs[0]!;
  try {
    return { partial: await store.partials.reopen(key), origin, layer };
  } catch {
    const path = store.blobPath(digestHex(layer.contentDigest));
    return existsSync(path) ? sharedFile(path) : undefined;
  }
}
