/**
 * What a client and `blobd pmem` say to each other over its control socket, in lines of JSON:
 *
 *     → {"version":1,"add":[{"path":"/…/blob"}, {"path":"/…/blob","offset":4194304}],"isBehind":true}
 *     ← {"placed":[{"path":"/…/blob","offset":2097152,"bytes":4096,"isMapped":true}, …]}        or {"error":"…","code":"ERR_…"}
 */
import { JsonObject } from "../oci/index.ts";
import { CONTROL_VERSION, type ControlError, controlErrorOf, MAX_CONTROL_BYTES } from "./messages.ts";

/** Files of one request: as many as a window takes. */
const MAX_FILES = 1024;

/** A file for the window; without an offset, in bytes, it is put behind everything else. */
export interface AddedFile {
  readonly path: string;
  readonly offset?: number;
}

/** Where a file lies. In bytes. */
export interface PlacedFile {
  readonly path: string;
  readonly offset: number;
  readonly bytes: number;
  /** The guest has it. Else it gets it when it starts. */
  readonly isMapped: boolean;
}

/** Files that are added together. */
export interface AddRequest {
  readonly files: readonly AddedFile[];
  /** Offsets are counted from behind all that is there, rounded up to 2 MiB: for an image. */
  readonly isBehind: boolean;
}

export function formatAdd({ files, isBehind }: AddRequest): string {
  return `${JSON.stringify({ version: CONTROL_VERSION, add: files, isBehind })}\n`;
}
/** @throws DocumentError */
export function parseAdd(line: Uint8Array): AddRequest {
  const message = JsonObject.parse(line, "message", MAX_CONTROL_BYTES);
  message.integer("version", CONTROL_VERSION);
  const files = message.objects("add", MAX_FILES).map((file) => ({
    path: file.string("path"),
    ...(file.has("offset") && { offset: file.integer("offset", Number.MAX_SAFE_INTEGER) }),
  }));
  return { files, isBehind: message.optionalBoolean("isBehind") ?? false };
}

export function formatPlaced(placed: readonly PlacedFile[]): string {
  return `${JSON.stringify({ placed })}\n`;
}
/** @throws DocumentError */
export function parsePlaced(line: Uint8Array): readonly PlacedFile[] | ControlError {
  const message = JsonObject.parse(line, "answer", MAX_CONTROL_BYTES);
  const error = controlErrorOf(message);
  if (error !== undefined) return error;
  return message.objects("placed", MAX_FILES).map((file) => ({
    path: file.string("path"),
    offset: file.integer("offset", Number.MAX_SAFE_INTEGER),
    bytes: file.integer("bytes", Number.MAX_SAFE_INTEGER),
    isMapped: file.optionalBoolean("isMapped") ?? false,
  }));
}
