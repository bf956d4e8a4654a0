import type { PushForm } from "../../push/index.ts";

/** A conversion as people and clients see it. */
export interface Conversion {
  readonly id: string;
  /** Who asked for it. */
  readonly origin: Origin;
  readonly registry: string;
  readonly repository: string;
  readonly tag: string | null;
  /** Of the manifest or index that was pushed; null until it is looked up. */
  readonly digest: string | null;
  /** How the converted image stands beside its source. */
  readonly form: PushForm;
  /** Tag of the converted image; null until it is looked up, and for one that is attached. */
  readonly targetTag: string | null;
  /** Whether it gets dm-verity hash trees. */
  readonly verity: boolean;
  /** `linux/amd64`, …: those asked for; none means all that the image has. */
  readonly platforms: readonly string[];
  readonly status: Status;
  /** Why it failed, was ignored, or waits for another attempt. */
  readonly reason: string | null;
  readonly errorCode: string | null;
  /** Notifications and requests that it answers. */
  readonly events: number;
  readonly mergedInto: string | null;
  readonly attempt: number;
  readonly worker: string | null;
  readonly cancelRequested: boolean;
  readonly phase: Phase | null;
  readonly doneBytes: number | null;
  readonly totalBytes: number | null;
  /** Layers as the source has them. */
  readonly sourceBytes: number | null;
  /** What the converted image takes. */
  readonly targetBytes: number | null;
  /** Of the converted image's manifest. */
  readonly targetDigest: string | null;
  readonly created: Date;
  readonly started: Date | null;
  readonly finished: Date | null;
  /** When it is tried again, while it waits for that. */
  readonly nextTry: Date | null;
}

export type Origin = "harbor" | "distribution" | "api" | "page";

export const STATUSES = [
  "looking",
  "queued",
  "running",
  "done",
  "failed",
  "cancelled",
  /** No rule wants it, or it is no image that can be converted. */
  "ignored",
  /** Another conversion does it. */
  "merged",
] as const;
export type Status = (typeof STATUSES)[number];

export type Phase = "converting" | "merging" | "pushing";

/** Whether nothing more happens to it by itself. */
export function isFinal(status: Status): boolean {
  return status !== "looking" && status !== "queued" && status !== "running";
}

/** Columns of a row as the fields of a Conversion. */
export const COLUMNS = `id, origin, registry, repository, tag, digest, form,
  target_tag AS "targetTag", verity, platforms, status, reason,
  error_code AS "errorCode", events, merged_into AS "mergedInto", attempt, worker, cancel_requested AS "cancelRequested",
  phase, done_bytes AS "doneBytes", total_bytes AS "totalBytes", source_bytes AS "sourceBytes",
  target_bytes AS "targetBytes", target_digest AS "targetDigest", created, started, finished, next_try AS "nextTry"`;

/** `registry/repository[:tag][@digest]`. */
export function referenceText(image: {
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string | null | undefined;
  readonly digest?: string | null | undefined;
}): string {
  const { registry, repository, tag, digest } = image;
  return `${registry}/${repository}${tag ? `:${tag}` : ""}${digest ? `@${digest}` : ""}`;
}
