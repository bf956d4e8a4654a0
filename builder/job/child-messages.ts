/**
 * Between a worker and the process that converts one image: the request is a line of JSON on its standard input, which then
 * stays open, because its end means that the worker is gone; progress and outcome are lines of JSON on its standard output.
 */
import { JsonObject } from "../../formats/oci/index.ts";
import type { PushForm } from "../push/index.ts";
import type { Phase, PushTarget } from "./queue/index.ts";

export interface ConversionRequest {
  /** `registry/repository@digest`. */
  readonly source: string;
  /** The tag that it was pushed under: the result is of no use once that means another image. */
  readonly sourceTag: string | null;
  readonly form: PushForm;
  /** With dm-verity hash trees. */
  readonly verity: boolean;
  readonly targets: readonly PushTarget[];
  readonly storeRoot: string;
  readonly maxBlobBytes?: number;
}

export type ConversionMessage =
  | { readonly type: "progress"; readonly phase: Phase; readonly doneBytes: number; readonly totalBytes: number }
  | { readonly type: "warning"; readonly message: string }
  | {
      readonly type: "result";
      readonly sourceBytes: number;
      readonly targetBytes: number;
      readonly targetDigest: string | null;
    }
  | { readonly type: "error"; readonly code: string; readonly message: string };

/** Most bytes of one line. */
export const MAX_LINE_BYTES = 64 << 10;
const MAX_MESSAGE_CHARS = 4000;
const PHASES: readonly string[] = ["converting", "merging", "pushing"];

/** @throws DocumentError for a line that is none of ours */
export function parseMessage(line: string): ConversionMessage {
  const json = JsonObject.parse(Buffer.from(line), "message", MAX_LINE_BYTES);
  const bytes = (key: string) => json.integer(key, Number.MAX_SAFE_INTEGER);
  const text = (key: string) => json.string(key).slice(0, MAX_MESSAGE_CHARS);
  switch (json.string("type")) {
    case "progress": {
      const phase = json.string("phase");
      if (!PHASES.includes(phase)) throw new RangeError(`phase ${phase}`);
      return {
        type: "progress",
        phase: phase as Phase,
        doneBytes: bytes("doneBytes"),
        totalBytes: bytes("totalBytes"),
      };
    }
    case "warning":
      return { type: "warning", message: text("message") };
    case "result":
      return {
        type: "result",
        sourceBytes: bytes("sourceBytes"),
        targetBytes: bytes("targetBytes"),
        targetDigest: json.optionalString("targetDigest") ?? null,
      };
    default:
      return { type: "error", code: text("code"), message: text("message") };
  }
}
