/** What a conversion tells while it runs. Sizes in bytes of the layer as stored (compressed). */
export type ProgressEvent =
  | { readonly type: "resolved"; readonly reference: string; readonly layers: readonly LayerSummary[] }
  | { readonly type: "layer"; readonly index: number; readonly state: LayerState; readonly bytes: number }
  /** `index` is null while the image's manifest is looked for. */
  | { readonly type: "retry"; readonly index: number | null; readonly reason: string }
  | { readonly type: "warning"; readonly message: string }
  | { readonly type: "merging"; readonly layers: number };

export interface LayerSummary {
  readonly digest: string;
  /** 0 when not known in advance. */
  readonly size: number;
}

/**
 * `cached`: the store had it; `waiting`: another process makes it. Of a converted image: `fetching`, `fetched`. Of a push:
 * `exists`: the repository had it; `mounted`: another repository of the registry had it.
 */
export type LayerState =
  | "waiting"
  | "converting"
  | "converted"
  | "fetching"
  | "fetched"
  | "cached"
  | "sending"
  | "sent"
  | "exists"
  | "mounted";

export type ProgressListener = (event: ProgressEvent) => void;
