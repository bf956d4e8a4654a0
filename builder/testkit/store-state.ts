import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** What can be seen of a store: names of its files by folder. */
export interface StoreState {
  readonly blobs: readonly string[];
  readonly layers: readonly string[];
  readonly images: readonly string[];
  /** Files in flight. */
  readonly tmp: readonly string[];
}

/** Looks into a store's folders; one that is not there is empty. Blobs come with their sizes. */
export function storeState(root: string): StoreState {
  const names = (folder: string) => readdirSync(join(root, folder)).sort();
  const all = (folder: string) => (statSync(join(root, folder), { throwIfNoEntry: false }) ? names(folder) : []);
  const withSize = (name: string) => `${name} ${statSync(join(root, "blobs/sha256", name)).size}`;
  return {
    blobs: all("blobs/sha256").map(withSize),
    layers: all("layers"),
    images: all("images"),
    tmp: all("tmp"),
  };
}
