/** Conversions as the API shows them. */
import { type Conversion, referenceText } from "../queue/index.ts";

/** What Go's zero time looks like in JSON: the acceleration-service sends it for a task that has not ended. */
const GO_ZERO_TIME = "0001-01-01T00:00:00Z";

/** A task of the acceleration-service. Source: pkg/task/manager.go. */
export function accelerationTask(conversion: Conversion) {
  const { id, created, finished, sourceBytes, targetBytes, status, reason } = conversion;
  return {
    id,
    created: created.toISOString(),
    finished: finished?.toISOString() ?? GO_ZERO_TIME,
    source: referenceText({ ...conversion, digest: conversion.tag === null ? conversion.digest : null }),
    source_size: sourceBytes ?? 0,
    target_size: targetBytes ?? 0,
    status: taskStatus(status),
    reason: reason ?? "",
  };
}

function taskStatus(status: Conversion["status"]): "PROCESSING" | "COMPLETED" | "FAILED" {
  if (status === "done" || status === "merged" || status === "ignored") return "COMPLETED";
  return status === "failed" || status === "cancelled" ? "FAILED" : "PROCESSING";
}

/** A conversion in the service's own API. */
export function jobView(conversion: Conversion) {
  const { registry, repository, tag, targetTag, created, started, finished, nextTry, ...rest } = conversion;
  return {
    ...rest,
    source: referenceText({ registry, repository, tag, digest: conversion.digest }),
    target: targetTag === null ? null : referenceText({ registry, repository, tag: targetTag }),
    created: created.toISOString(),
    started: started?.toISOString() ?? null,
    finished: finished?.toISOString() ?? null,
    nextTry: nextTry?.toISOString() ?? null,
  };
}
