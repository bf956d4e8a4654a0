/** JSON schemas of the API, for the OpenAPI document and for what is checked of requests. */
import { STATUSES } from "../queue/index.ts";

const nullable = (type: string, more: object = {}) => ({ type: [type, "null"], ...more });
const time = { type: "string", format: "date-time" };

export const ERROR = {
  type: "object",
  properties: { code: { type: "string" }, message: { type: "string" } },
  required: ["code", "message"],
} as const;

export const JOB = {
  type: "object",
  properties: {
    id: { type: "string", format: "uuid" },
    origin: { type: "string", enum: ["harbor", "distribution", "api", "page"] },
    source: { type: "string", description: "registry/repository[:tag][@digest]" },
    form: { type: "string", description: "of the converted image: tag, index, or referrer (attached to its source)" },
    target: nullable("string", { description: "the converted image; null for one that is attached" }),
    digest: nullable("string"),
    verity: { type: "boolean", description: "with dm-verity hash trees" },
    platforms: { type: "array", items: { type: "string" } },
    status: { type: "string", enum: STATUSES },
    reason: nullable("string", { description: "why it failed, was ignored, or waits for another attempt" }),
    errorCode: nullable("string"),
    events: { type: "integer", description: "notifications and requests that it answers" },
    mergedInto: nullable("string"),
    attempt: { type: "integer" },
    worker: nullable("string"),
    cancelRequested: { type: "boolean" },
    phase: nullable("string", { description: "converting, merging or pushing" }),
    doneBytes: nullable("integer"),
    totalBytes: nullable("integer"),
    sourceBytes: nullable("integer", { description: "the layers as the source has them" }),
    targetBytes: nullable("integer", { description: "what the converted image takes" }),
    targetDigest: nullable("string"),
    created: time,
    started: nullable("string"),
    finished: nullable("string"),
    nextTry: nullable("string"),
  },
} as const;

/** Source: acceleration-service, pkg/task/manager.go. */
export const ACCELERATION_TASK = {
  type: "object",
  properties: {
    id: { type: "string" },
    created: time,
    finished: time,
    source: { type: "string" },
    source_size: { type: "integer" },
    target_size: { type: "integer" },
    status: { type: "string", enum: ["PROCESSING", "COMPLETED", "FAILED"] },
    reason: { type: "string" },
  },
} as const;

export const ID_PARAMETERS = {
  type: "object",
  properties: { id: { type: "string", format: "uuid" } },
  required: ["id"],
} as const;

export const errors = (...statuses: number[]) => Object.fromEntries(statuses.map((status) => [status, ERROR]));
