import type { Endpoint } from "../registry/index.ts";

/** Where a blob comes from. */
export interface BlobOrigin {
  readonly endpoints: readonly Endpoint[];
  readonly repository: string;
}

/** A blob as a file, for as long as it is not released. */
export interface Served {
  readonly path: string;
  readonly isComplete: boolean;
  /** What has been fetched of it, by whomever, since it was asked for. */
  fetched(): { chunks: number; storedBytes: number };
  /** Fetches a range of it, as far as there is one, when there is nothing more urgent. */
  prefetch(offset: number, bytes: number): void;
  release(): void;
}
